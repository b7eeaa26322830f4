package playground

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
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
	group, shared := errgroup.WithContext(ctx)
	group.SetLimit(max(limit, 1))
	for _, item := range items {
		group.Go(func() error {
			if shared.Err() != nil {
				return context.Cause(shared)
			}
			return do(shared, item)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// poll calls done every 50 ms until it says true, an error, or within is
// over. What it waited for is in the error.
func poll(ctx context.Context, within time.Duration, what string, done func() (bool, error)) error {
	const interval, atOnce = 50 * time.Millisecond, true
	err := wait.PollUntilContextTimeout(ctx, interval, within, atOnce, func(context.Context) (bool, error) { return done() })
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return nil
}
