package build

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// stopGrace is how long a command may take to clean up when it is
	// stopped: mmdebstrap unmounts and removes what it has made.
	stopGrace = 15 * time.Second
	// tailLines is how much of a failed command's output goes into its error.
	tailLines = 15
)

// command is a child process.
type command struct {
	dir  string   // "" is the present one
	env  []string // on top of the present environment
	line func(string) bool
	// line, if not nil, gets every line of standard error; those it returns
	// true for are no part of an error message.
}

// run runs a program and returns its standard output. When ctx ends, the
// program and its children, which are in a process group of their own, are
// told to terminate, and killed if they do not.
func (c command) run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = c.dir
	cmd.Env = append(cmd.Environ(), c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	pipe, writer := io.Pipe()
	cmd.Stderr = writer
	tail := make(chan []string, 1)
	go func() { tail <- c.read(pipe) }()
	err := cmd.Run()
	writer.Close()
	lines := <-tail
	if cmd.Process != nil {
		// What outlived its parent; most often there is nothing left.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	if ctx.Err() != nil {
		return "", fmt.Errorf("running %s: %w", program, ctx.Err())
	}
	if err != nil {
		return "", &commandError{Program: program, Args: args, Tail: lines, Err: err}
	}
	return stdout.String(), nil
}

// read consumes standard error and returns its last lines.
func (c command) read(r io.Reader) []string {
	var tail []string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if text := strings.TrimSpace(lines.Text()); text != "" && (c.line == nil || !c.line(text)) {
			tail = append(tail, text)
			tail = tail[max(0, len(tail)-tailLines):]
		}
	}
	// A line too long for the scanner must not block the child.
	_, _ = io.Copy(io.Discard, r)
	return tail
}

// commandError is a program that ended with an error.
type commandError struct {
	Program string
	Args    []string
	Tail    []string // the last lines of its standard error
	Err     error
}

func (e *commandError) Error() string {
	text := fmt.Sprintf("running %s: %v", e.Program, e.Err)
	if len(e.Tail) > 0 {
		text += "\n\t" + strings.Join(e.Tail, "\n\t")
	}
	return text
}

func (e *commandError) Unwrap() error { return e.Err }

// missing tells whether err means that the program does not exist.
func missing(err error) bool { return errors.Is(err, exec.ErrNotFound) }
