package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// TestAnOutputThatIsHeldUp does not hold up a run: Ctrl-S on its terminal, or a
// reader that has stopped reading.
func TestAnOutputThatIsHeldUp(t *testing.T) {
	t.Parallel()
	t.Run("Ctrl-S", func(t *testing.T) {
		t.Parallel()
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer master.Close()
		a := startRun(t, func(_ string, cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		})
		defer slave.Close()
		// What Ctrl-S does, at once: typed, it is taken a moment later (flush_to_ldisc
		// of drivers/tty/tty_buffer.c), and the run may have ended by then.
		if err := unix.IoctlSetInt(int(slave.Fd()), unix.TCXONC, unix.TCOOFF); err != nil {
			t.Fatal(err)
		}
		// The kernel looks at what was typed when it comes to it. A terminal that is
		// stopped has no room (pty_write_room).
		a.until(func() bool { return !hasRoom(t, slave) }, "the terminal is stopped")
		a.send(syscall.SIGTERM)
		a.stoppedSafely()
		if !strings.Contains(a.log(), "standard error can't be written to (it is held up") {
			t.Errorf("the log does not say what was not shown:\n%s", a.log())
		}
	})
	t.Run("a reader that does not read", func(t *testing.T) {
		t.Parallel()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		a := startRun(t, func(_ string, cmd *exec.Cmd) { cmd.Stderr = w })
		fill(t, w)
		a.send(syscall.SIGTERM)
		a.stoppedSafely()
	})
	t.Run("and goes on", func(t *testing.T) {
		t.Parallel()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096)
		if err != nil {
			t.Fatal(err)
		}
		p, line := newPatience(), []byte(strings.Repeat("x", size-1)+"\n")
		for i, want := range []error{nil, errHeldUp, errHeldUp} {
			if _, err := p.write(w, line); !errors.Is(err, want) {
				t.Fatalf("write %d: %v", i, err)
			}
		}
		got := make(chan string)
		go func() { text, _ := io.ReadAll(r); got <- string(text) }()
		p.turn <- struct{}{} // what was begun is written by now
		<-p.turn
		if _, err := p.write(w, []byte("after\n")); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if text := <-got; text != string(line)+string(line)+"\nmigrate: this output was held up, and 1 lines or so were not shown: `migrate log` has them\nafter\n" {
			t.Errorf("%d bytes, the end: %q", len(text), text[max(0, len(text)-200):])
		}
	})
}

// hasRoom says whether a file takes anything at present.
func hasRoom(t *testing.T, file *os.File) bool {
	t.Helper()
	for {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(file.Fd()), Events: unix.POLLOUT}}, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return ready > 0
	}
}

// fill writes to a pipe until it takes nothing more: pages, and then what the last
// one has room for. It never waits, since the program may take the room first; so it
// opens the pipe once more, as O_NONBLOCK would go for the program as well.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	defer w.Close()
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", w.Fd()), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd) //nolint:errcheck // what was written is in the pipe
	for _, size := range []int{4096, 1} {
		for err = nil; err == nil || errors.Is(err, unix.EINTR); {
			_, err = unix.Write(fd, make([]byte, size))
		}
		if !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
	}
}
