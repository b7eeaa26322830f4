package migrate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"hamigrate/state"
)

// unknownEnd is an error as remote.ErrUnknownOutcome is one.
type unknownEnd struct{}

func (unknownEnd) Error() string        { return "who knows" }
func (unknownEnd) UnknownOutcome() bool { return true }

// wired is a world behind connections.
type wired struct {
	*world
	lost   int
	awaits []string
}

func (w *wired) Lost() int { return w.lost }

func (w *wired) AwaitLeftovers(_ context.Context, target string) error {
	w.awaits = append(w.awaits, target)
	return nil
}

func TestALostConnectionIsMendedByLookingAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cuts   int // in a row
		lost   int // connections counted with each
		err    error
		mended bool
	}{
		"unknown outcome":             {1, 0, unknownEnd{}, true},
		"as often as it may":          {maxReconnects, 0, unknownEnd{}, true},
		"once too often":              {maxReconnects + 1, 0, unknownEnd{}, false},
		"a client's error, and a cut": {2, 1, errors.New("unexpected EOF"), true},
		"no cut":                      {1, 0, errors.New("unexpected EOF"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env, j, heard := &wired{world: newWorld()}, newJournal(t), &told{}
			left := c.cuts
			env.touch = func(_ StepID, _, value string) error {
				if value != "new" || left == 0 {
					return nil
				}
				left--
				env.lost += c.lost
				return c.err
			}
			r := Runner[reader, writer]{Env: env, Journal: j, Spec: "s", Events: heard}
			err := r.Run(t.Context(), phase(step("a", Once)))
			rec := record(t, j, "a", ClusterTarget)
			waits := strings.Count(strings.Join(heard.lines(), "\n"), "a connection was lost")
			if !c.mended {
				if !errors.Is(err, c.err) || rec.Status != state.Failed {
					t.Errorf("%v, %s", err, rec.Status)
				}
				return
			}
			if err != nil || rec.Status != state.Verified || rec.Before["was"] != "old" || waits != c.cuts {
				t.Errorf("%v, %+v, told %d times", err, rec, waits)
			}
			if len(env.awaits) != c.cuts {
				t.Errorf("what was left running was waited for %d times", len(env.awaits))
			}
		})
	}
}

// TestALostConnectionInAnUndo: the undo is called again.
func TestALostConnectionInAnUndo(t *testing.T) {
	t.Parallel()
	env, j := &wired{world: newWorld()}, newJournal(t)
	calls := 0
	p := phase(step("a", Once, func(s *Step[reader, writer]) {
		s.OneWay = ""
		s.Undo = func(_ context.Context, h writer, before Before) error {
			if calls++; calls < 3 {
				return unknownEnd{}
			}
			return h.set("a", before["was"])
		}
	}))
	r := Runner[reader, writer]{Env: env, Journal: j, Spec: "s"}
	if err := errors.Join(r.Run(t.Context(), p), r.Rollback(t.Context(), p)); err != nil {
		t.Fatal(err)
	}
	if got := record(t, j, "a", ClusterTarget).Status; got != state.Undone || calls != 3 || env.values["a@cluster"] != "old" {
		t.Errorf("%s after %d calls", got, calls)
	}
}

// TestLeftoversAreAwaitedBeforeTheLook: only for a step that was left
// unfinished.
func TestLeftoversAreAwaitedBeforeTheLook(t *testing.T) {
	t.Parallel()
	env, j := &wired{world: newWorld()}, newJournal(t)
	p := phase(step("a", Once), step("b", EtcdHosts))
	ctx, kill := context.WithCancel(t.Context())
	env.touch = func(step StepID, target, _ string) error {
		if step == "b" && target == "e2" && ctx.Err() == nil {
			kill()
			return ctx.Err()
		}
		return nil
	}
	r := Runner[reader, writer]{Env: env, Journal: j, Spec: "s"}
	if err := r.Run(ctx, p); err == nil {
		t.Fatal("not killed")
	}
	if err := r.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(env.awaits, []string{"e2"}) {
		t.Errorf("awaited: %v", env.awaits)
	}
}
