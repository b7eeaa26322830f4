package main

import (
	"errors"
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

// fill writes to a pipe until it takes nothing more. A pipe that can be written to
// has room for a page.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	defer w.Close()
	for {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(w.Fd()), Events: unix.POLLOUT}}, 100)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if ready == 0 {
			return
		}
		if _, err := w.Write(make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
	}
}
