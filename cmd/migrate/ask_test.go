package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"hamigrate/migrate/run"

	"golang.org/x/sys/unix"
)

// terminal is a new one: what a person has before them, and what a program
// opens.
func terminal(t *testing.T) (person, tty *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { tty.Close() })
	return person, tty
}

func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// waitsFor begins a question and waits until it is shown.
func waitsFor(t *testing.T, ctx context.Context, person, tty *os.File, signals <-chan os.Signal) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		answer, err := askOn(ctx, tty, signals, "Who? ")
		if err == nil && answer != "me" {
			err = fmt.Errorf("the answer is %q", answer)
		}
		ended <- err
	}()
	if _, err := io.ReadFull(person, make([]byte, len("\r\nWho? "))); err != nil {
		t.Fatal(err)
	}
	if echoes(t, tty) {
		t.Error("what is typed is shown")
	}
	return ended
}

// TestAskOutlastsADeadline: a person types until the end of the line.
func TestAskOutlastsADeadline(t *testing.T) {
	t.Parallel()
	person, tty := terminal(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	ended := waitsFor(t, ctx, person, tty, nil)
	fmt.Fprint(person, "m")
	time.Sleep(3 * typedLook)
	fmt.Fprint(person, "e\n")
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !echoes(t, tty) {
		t.Error("the terminal was not put right")
	}
}

// TestAskThatWasEnded leaves the terminal as it was, no reader on it, and
// nothing of the answer.
func TestAskThatWasEnded(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(chan os.Signal, context.CancelFunc){
		"by Ctrl-C":       func(signals chan os.Signal, _ context.CancelFunc) { signals <- os.Interrupt },
		"by another host": func(_ chan os.Signal, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			person, tty := terminal(t)
			signals := make(chan os.Signal, 1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := waitsFor(t, ctx, person, tty, signals)
			fmt.Fprint(person, "half of a secr")
			end(signals, cancel)
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if !echoes(t, tty) {
				t.Error("the terminal was not put right")
			}
			fmt.Fprint(person, "next\n")
			line := make([]byte, 100)
			if n, err := tty.Read(line); err != nil || string(line[:n]) != "next\n" {
				t.Errorf("the next reader gets %q, %v", line[:n], err)
			}
		})
	}
}

// TestNobodyIsAskedAtTheEnd, nor after a question that was ended: neither
// opens the terminal.
func TestNobodyIsAskedAtTheEnd(t *testing.T) {
	t.Parallel()
	a := new(asker)
	if _, err := a.ask(context.WithValue(t.Context(), run.Unasked{}, true), "Who? "); !errors.Is(err, errNotAnswered) {
		t.Error(err)
	}
	a.stopped.Store(true)
	if _, err := a.ask(t.Context(), "Who? "); !errors.Is(err, errNotAnswered) {
		t.Error(err)
	}
}
