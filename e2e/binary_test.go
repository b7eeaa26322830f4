package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// binary is the program under test. Everything it prints is kept in a
// transcript.
type binary struct {
	path string
	out  string // folder of the transcripts

	mu    sync.Mutex
	calls int
}

// result is how one call ended.
type result struct {
	code           int
	stdout, stderr string
	seconds        float64
}

// process is a call under way.
type process struct {
	cmd            *exec.Cmd
	begun          time.Time
	stdout, stderr buffer
	ended          chan struct{}
	finish         func() result
}

// start begins a call. onLine, which may be nil, is given each line of
// standard output as it comes.
func (b *binary) start(ctx context.Context, onLine func(string), args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, b.path, args...), begun: time.Now(), ended: make(chan struct{})}
	p.cmd.Stdout = &p.stdout
	p.cmd.Stderr = &p.stderr
	if onLine != nil {
		p.cmd.Stdout = io.MultiWriter(&p.stdout, &lineWriter{each: onLine})
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", b.path, err)
	}
	var once sync.Once
	var ended result
	p.finish = func() result {
		once.Do(func() {
			err := p.cmd.Wait()
			ended = result{p.cmd.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String(), time.Since(p.begun).Seconds()}
			var status *exec.ExitError
			if err != nil && !errors.As(err, &status) {
				ended.stderr += "\n(" + err.Error() + ")"
			}
			b.keep(args, ended)
			close(p.ended)
		})
		return ended
	}
	return p, nil
}

// run is a whole call, which must end within limit.
func (b *binary) run(t *testing.T, limit time.Duration, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	p, err := b.start(ctx, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	r := p.finish()
	if ctx.Err() != nil {
		t.Fatalf("migrate %s did not end within %s; it said last:\n%s", strings.Join(args, " "), limit, tail(r.stderr, 10))
	}
	return r
}

// runDetached is run for when the test is over and its context with it.
func (b *binary) runDetached(limit time.Duration, args ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	p, err := b.start(ctx, nil, args...)
	if err != nil {
		return result{code: -1, stderr: err.Error()}
	}
	return p.finish()
}

// must is run of a call that has to end with a given exit code.
func (b *binary) must(t *testing.T, code int, limit time.Duration, args ...string) result {
	t.Helper()
	r := b.run(t, limit, args...)
	if r.code != code {
		t.Fatalf("migrate %s ended with exit code %d, not %d; it said:\n%s", strings.Join(args, " "), r.code, code, tail(r.stderr+r.stdout, 25))
	}
	return r
}

// keep writes a transcript. That it could not be written is no reason to stop
// a test, and it says so itself.
func (b *binary) keep(args []string, r result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	name := fmt.Sprintf("%02d-%s.txt", b.calls, strings.Join(words(args), "-"))
	text := fmt.Sprintf("$ migrate %s\n(exit code %d, %.1f s)\n--- stdout\n%s\n--- stderr\n%s\n", strings.Join(args, " "), r.code, r.seconds, r.stdout, r.stderr)
	if err := os.WriteFile(filepath.Join(b.out, name), []byte(text), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, "keeping a transcript:", err)
	}
}

// words are the arguments that name the command, for a file name.
func words(args []string) []string {
	var out []string
	for _, a := range args {
		if strings.HasPrefix(a, "-") || strings.ContainsAny(a, "/ ") || len(out) == 3 {
			break
		}
		out = append(out, a)
	}
	return out
}

// buffer is a bytes.Buffer that may be read while it is written to.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// lineWriter hands on whole lines.
type lineWriter struct {
	each func(string)
	rest string
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest += string(p)
	for {
		line, rest, whole := strings.Cut(w.rest, "\n")
		if !whole {
			return len(p), nil
		}
		w.rest = rest
		w.each(line)
	}
}

// tail is the last n lines of a text.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// event is what `run -o json` says of a step, as far as it is of use here.
type event struct {
	Kind   string `json:"kind"`
	Phase  int    `json:"phase"`
	Step   string `json:"step"`
	Target string `json:"target"`
}

// events reads the standard output of `run -o json`.
func events(t *testing.T, stdout string) []event {
	t.Helper()
	var out []event
	for line := range strings.Lines(stdout) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("run -o json printed a line that is no JSON: %q", line)
		}
		out = append(out, e)
	}
	return out
}
