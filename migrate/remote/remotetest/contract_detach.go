package remotetest

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"hamigrate/migrate/remote"
)

func detachedRuns(t *testing.T, x fixture) {
	for range 2 { // a result is given once, and the name is free again
		if out := must(x.Run(t.Context(), remote.Command{Script: scriptHello, Detach: "hello-1"}))(t); out != "hello\n" {
			t.Errorf("printed %q", out)
		}
	}
	in := []byte("a secret\x00\n")
	if out := must(x.Run(t.Context(), remote.Command{Script: "cat", Stdin: in, Detach: "cat"}))(t); out != string(in) {
		t.Errorf("cat printed %q", out)
	}
	if out := must(x.Run(t.Context(), remote.Command{Script: "cat", Detach: "cat"}))(t); out != "" {
		t.Errorf("cat without input printed %q", out)
	}
	for _, name := range []string{"Name", "a b", "../a", "a.b", "*"} {
		_, err := x.Run(t.Context(), remote.Command{Script: scriptHello, Detach: name})
		wantError(t, name, err)
	}
	if err := x.AwaitDetached(t.Context()); err != nil {
		t.Error(err)
	}
}

func detachedFails(t *testing.T, x fixture) {
	out, err := x.Run(t.Context(), remote.Command{Script: scriptFail, Detach: "fails"})
	var exit *remote.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("%v is no ExitError", err)
	}
	if want := (remote.ExitError{Host: x.Name(), Script: scriptFail, Status: 3, Stderr: "reason\n"}); *exit != want || out != "some\n" {
		t.Errorf("got %+v and %q, want %+v", *exit, out, want)
	}
}

// detachedLeft ends a context in the middle of a detached command: it goes on,
// none of its name is begun beside it, and its end can be waited for.
func detachedLeft(t *testing.T, x fixture) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := x.Run(ctx, remote.Command{Script: scriptHello, Detach: "never"})
	wantIs(t, err, context.Canceled)
	if errors.Is(err, remote.ErrUnknownOutcome) {
		t.Errorf("never begun, but: %v", err)
	}
	for _, await := range []bool{true, false} {
		started, ended := x.path("started"), x.path("ended")
		script := "echo > " + started + "; sleep 1; echo > " + ended
		_, err := x.Run(cancelWhen(t, x, started), remote.Command{Script: script, Detach: "left"})
		wantIs(t, err, context.Canceled, remote.ErrUnknownOutcome)
		if _, err := x.ReadFile(t.Context(), ended); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("it has ended already (%v)", err)
		}
		if await {
			err = x.AwaitDetached(t.Context())
			if err != nil {
				t.Error(err)
			}
		} else {
			_, err = x.Run(t.Context(), remote.Command{Script: scriptHello, Detach: "left"})
			wantIs(t, err, remote.ErrUnknownOutcome)
		}
		must(x.ReadFile(t.Context(), ended))(t)
		for _, p := range []string{started, ended} {
			if err := x.Remove(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
}
