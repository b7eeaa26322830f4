package remotetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"hamigrate/migrate/remote"
)

// Contract checks that what newHost returns keeps every promise of
// remote.Host. newHost is called once a subtest; the host must be one where
// WriteFile may give files to root and to the user daemon. All files are made
// in a folder from `mktemp -d`, which is removed in the end.
func Contract(t *testing.T, newHost func(*testing.T) remote.Host) {
	tests := []struct {
		name string
		run  func(*testing.T, fixture)
	}{
		{"write and read", writeAndRead},
		{"a new file is 0600 root:root", newFileDefaults},
		{"writing keeps mode and owner", writeKeeps},
		{"writing sets mode and owner", writeSets},
		{"writing makes folders", writeMakesFolders},
		{"writing through a link keeps the link", writeThroughLink},
		{"writing leaves nothing else behind", writeLeavesNothing},
		{"odd names", oddNames},
		{"what cannot be read", unreadable},
		{"list", list},
		{"rename", rename},
		{"rename refuses", renameRefuses},
		{"remove", remove},
		{"copy", copyFile},
		{"copy refuses", copyRefuses},
		{"stream", stream},
		{"run", run},
		{"run fails", runFails},
		{"cancel", cancel},
		{"detached", detachedRuns},
		{"detached, fails", detachedFails},
		{"detached, left behind", detachedLeft},
		{"dial refused", dialRefused},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			dir := must(h.Run(t.Context(), remote.Cmd("mktemp", "-d")))(t)
			x := fixture{h, strings.TrimSpace(dir)}
			t.Cleanup(func() {
				if _, err := h.Run(context.WithoutCancel(t.Context()), remote.Cmd("rm", "-rf", "--", x.dir)); err != nil {
					t.Error(err)
				}
			})
			test.run(t, x)
		})
	}
}

// fixture is a host and a folder of its own on it.
type fixture struct {
	remote.Host
	dir string
}

func (x fixture) path(name string) string { return path.Join(x.dir, name) }

func (x fixture) write(t *testing.T, f remote.File) {
	t.Helper()
	if err := x.WriteFile(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func (x fixture) put(t *testing.T, name, content string) string {
	t.Helper()
	x.write(t, remote.File{Path: x.path(name), Data: []byte(content)})
	return x.path(name)
}

// has checks a file's content, mode and owner.
func (x fixture) has(t *testing.T, want remote.File) {
	t.Helper()
	got := must(x.ReadFile(t.Context(), want.Path))(t)
	if got.Path != want.Path || got.Mode != want.Mode || got.Owner != want.Owner || !bytes.Equal(got.Data, want.Data) {
		t.Errorf("got %s %v %s %.40q (%d bytes), want %s %v %s %.40q (%d bytes)", got.Path, got.Mode, got.Owner, got.Data,
			len(got.Data), want.Path, want.Mode, want.Owner, want.Data, len(want.Data))
	}
}

func (x fixture) lists(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := must(x.List(t.Context(), dir))(t); !slices.Equal(got, want) {
		t.Errorf("%s has %q, want %q", dir, got, want)
	}
}

// must turns a call's two results into its value; an error ends the test.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// wantIs checks that err is of every kind given.
func wantIs(t *testing.T, err error, kinds ...error) {
	t.Helper()
	for _, kind := range kinds {
		if !errors.Is(err, kind) {
			t.Errorf("error %q is not %q", err, kind)
		}
	}
}

func wantError(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
	}
	if errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v is fs.ErrNotExist", what, err)
	}
}

func run(t *testing.T, x fixture) {
	for name, run := range map[string]func(context.Context, remote.Command) (string, error){"Run": x.Run, "Look": x.Look} {
		if out := must(run(t.Context(), remote.Command{Script: scriptHello}))(t); out != "hello\n" {
			t.Errorf("%s printed %q", name, out)
		}
		in := []byte("a secret\x00\n")
		if out := must(run(t.Context(), remote.Command{Script: "cat", Stdin: in}))(t); out != string(in) {
			t.Errorf("%s: cat printed %q", name, out)
		}
		if out := must(run(t.Context(), remote.Command{Script: "cat"}))(t); out != "" {
			t.Errorf("%s: cat without input printed %q", name, out)
		}
	}
}

// Scripts of the suite that are no single words; the fake plays them.
const (
	scriptHello = "echo hello"
	scriptFail  = "echo some; echo reason >&2; exit 3"
)

func runFails(t *testing.T, x fixture) {
	for name, run := range map[string]func(context.Context, remote.Command) (string, error){"Run": x.Run, "Look": x.Look} {
		out, err := run(t.Context(), remote.Command{Script: scriptFail, Stdin: []byte("a secret")})
		var exit *remote.ExitError
		if !errors.As(err, &exit) {
			t.Fatalf("%s: %v is no ExitError", name, err)
		}
		want := remote.ExitError{Host: x.Name(), Script: scriptFail, Status: 3, Stderr: "reason\n"}
		if *exit != want {
			t.Errorf("%s: got %+v, want %+v", name, *exit, want)
		}
		if out != "some\n" {
			t.Errorf("%s: standard output is %q", name, out)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v tells standard input", name, err)
		}
	}
}

// cancel ends a context before a command and in the middle of one.
func cancel(t *testing.T, x fixture) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := x.Run(ctx, remote.Command{Script: scriptHello})
	wantIs(t, err, context.Canceled)
	if errors.Is(err, remote.ErrUnknownOutcome) {
		t.Errorf("never begun, but: %v", err)
	}

	started := x.path("started")
	_, err = x.Run(cancelWhen(t, x, started), remote.Command{Script: "echo > " + started + "; sleep 60"})
	wantIs(t, err, context.Canceled, remote.ErrUnknownOutcome)

	if err := x.Remove(t.Context(), started); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 1)
	defer cancel()
	_, err = x.Look(ctx, remote.Command{Script: scriptHello})
	wantIs(t, err, context.DeadlineExceeded)
	if errors.Is(err, remote.ErrUnknownOutcome) {
		t.Errorf("a look has no outcome, but: %v", err)
	}
}

// cancelWhen returns a context that is cancelled once the file is there.
func cancelWhen(t *testing.T, x fixture, file string) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for t.Context().Err() == nil {
			if _, err := x.ReadFile(t.Context(), file); err == nil {
				return
			}
		}
	}()
	return ctx
}

func dialRefused(t *testing.T, x fixture) {
	if _, err := x.DialContext(t.Context(), "tcp", "127.0.0.1:1"); err == nil {
		t.Error("a port nobody listens on: no error")
	}
}

func stream(t *testing.T, x fixture) {
	s, ok := x.Host.(remote.Streamer)
	if !ok {
		t.Skip("no remote.Streamer")
	}
	content := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)
	big := x.put(t, "big", string(content))
	r, size, err := s.Open(t.Context(), big)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := must(io.ReadAll(r))(t); size != int64(len(content)) || !bytes.Equal(got, content) {
		t.Errorf("size %d, %d bytes read, want %d", size, len(got), len(content))
	}
	if _, _, err := s.Open(t.Context(), x.path("absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	for range 10 { // more than the sessions a host allows: Close gives them back
		r, _, err := s.Open(t.Context(), big)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
