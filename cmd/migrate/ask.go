package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"hamigrate/migrate"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// terminalName is the terminal of this program, whatever its standard input
// and output are.
const terminalName = "/dev/tty"

// errNotAnswered is a question that Ctrl-C ended.
var errNotAnswered = fmt.Errorf("the question was not answered: %w", context.Canceled)

// noTerminal says whether nobody can be asked.
func noTerminal(c *cli.Context) bool {
	f, ok := c.App.Reader.(*os.File)
	return ok && !isTerminal(f)
}

// question asks and returns the line that was typed. Where the run is to stop
// already, there is nothing to ask.
func question(ctx context.Context, c *cli.Context, stop <-chan struct{}, format string, args ...any) (string, error) {
	select {
	case <-stop:
		return "", migrate.ErrStopped
	default:
	}
	fmt.Fprintf(c.App.ErrWriter, format, args...)
	return readAnswer(ctx, stop, c.App.Reader)
}

// readAnswer reads a line, unless the run is asked to stop first: nothing is
// under way at a question, so one Ctrl-C is enough. The reading goes on then,
// as no terminal gives up a read; the program ends soon.
func readAnswer(ctx context.Context, stop <-chan struct{}, r io.Reader) (string, error) {
	type answer struct {
		line string
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(r).ReadString('\n')
		read <- answer{line, err}
	}()
	select {
	case a := <-read:
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return "", fmt.Errorf("reading the answer: %w", a.err)
		}
		return strings.TrimSpace(a.line), nil
	case <-stop:
		return "", errNotAnswered
	case <-ctx.Done():
		return "", errNotAnswered
	}
}

// askSecret is the function that asks for passphrases and passwords, or nil
// where there is no terminal. A secret is taken from nowhere else: a flag is
// in the list of processes, a variable in every child, a file on a disk.
func askSecret() func(context.Context, string) (string, error) {
	tty, err := os.OpenFile(terminalName, os.O_RDWR, 0)
	if err != nil {
		return nil // no terminal, which is no error: there may be nothing to ask
	}
	defer tty.Close()
	if !term.IsTerminal(int(tty.Fd())) {
		return nil
	}
	return askOnTerminal
}

// askOnTerminal shows a question and reads a line that is not shown.
func askOnTerminal(ctx context.Context, question string) (string, error) {
	tty, err := os.OpenFile(terminalName, os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("opening the terminal: %w", err)
	}
	defer tty.Close()
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		return "", fmt.Errorf("looking at the terminal: %w", err)
	}
	// Ctrl-C ends the program while the terminal shows nothing that is typed;
	// so it is caught, and the terminal put right first.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	fmt.Fprintf(tty, "\r\n%s", question)
	type line struct {
		text []byte
		err  error
	}
	read := make(chan line, 1)
	go func() {
		text, err := term.ReadPassword(int(tty.Fd()))
		read <- line{text, err}
	}()
	select {
	case l := <-read:
		fmt.Fprint(tty, "\r\n")
		if l.err != nil {
			return "", fmt.Errorf("reading the answer: %w", l.err)
		}
		return string(l.text), nil
	case <-signals:
		err = errNotAnswered
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return "", errors.Join(err, term.Restore(int(tty.Fd()), before))
}
