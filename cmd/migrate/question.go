package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/show"

	"github.com/urfave/cli/v2"
)

// noTerminal says whether nobody can be asked.
func noTerminal(c *cli.Context) bool {
	f, ok := c.App.Reader.(*os.File)
	return ok && !show.IsTerminal(f)
}

// question asks and returns the line that was typed. Where the run is to stop
// already, there is nothing to ask.
func question(ctx context.Context, c *cli.Context, stop <-chan struct{}, format string, args ...any) (string, error) {
	select {
	case <-ctx.Done():
		return "", errNotAnswered
	default:
	}
	select {
	case <-stop:
		return "", migrate.ErrStopped
	default:
	}
	show.Fprintf(c.App.ErrWriter, format, args...)
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
