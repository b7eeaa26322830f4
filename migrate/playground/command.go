package playground

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// run runs a program of this machine and returns its standard output. Its
// last words are in the error.
func run(ctx context.Context, program string, args ...string) (string, error) {
	return runInput(ctx, "", program, args...)
}

// runInput is run with standard input, which is where secrets go.
func runInput(ctx context.Context, input, program string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = helperAttributes()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// A grandchild that holds on to the output must not hold us up.
	cmd.WaitDelay = 5 * time.Second
	runtime.LockOSThread() // see helperAttributes
	err := cmd.Run()
	runtime.UnlockOSThread()
	if err == nil {
		return stdout.String(), nil
	}
	if ctx.Err() != nil {
		return stdout.String(), fmt.Errorf("running %s: %w", program, ctx.Err())
	}
	words := lastLines(stderr.String(), 12)
	if words == "" {
		words = lastLines(stdout.String(), 12)
	}
	return stdout.String(), fmt.Errorf("running `%s`: %w: %s", strings.Join(append([]string{program}, args...), " "), err, words)
}

// lastLines returns the last n lines of a text that are not empty.
func lastLines(text string, n int) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, " \r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// each calls do for every item, at most limit at a time, and waits for all.
// The first error ends the others' context and is returned: what the others
// then say is of no use to anyone.
func each[T any](ctx context.Context, items []T, limit int, do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	gate := make(chan struct{}, max(limit, 1))
	var wg sync.WaitGroup
	for _, item := range items {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			if ctx.Err() != nil {
				return
			}
			if err := do(ctx, item); err != nil {
				cancel(err) // keeps the first
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// poll calls done every 50 ms until it says true, an error, or within is
// over. What it waited for is in the error.
func poll(ctx context.Context, within time.Duration, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok {
			return nil
		}
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}
