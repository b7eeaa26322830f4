package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/state"
)

var errPulling = errors.New("the image can't be pulled")

// late makes a step's Verify disagree, with what says says, until it is time.
func late(after time.Duration, says func() error) func(*Step[reader, writer]) {
	return func(s *Step[reader, writer]) {
		begun := time.Time{}
		s.Settle = 10 * time.Minute
		s.Verify = func(context.Context, reader) error {
			if begun.IsZero() {
				begun = time.Now()
			}
			if time.Since(begun) < after {
				return says()
			}
			return nil
		}
	}
}

func notYet() error { return errNotYet }

// A wait in which nothing helps ends at once, with the reason and not with a
// time that was over.
func TestHopelessEndsAWaitAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, j := newWorld(), newJournal(t)
		start, tries := time.Now(), 0
		p := phase(step("a", Once, late(time.Hour, func() error {
			if tries++; tries < 3 {
				return errNotYet
			}
			return fmt.Errorf("rolling out: %w", Hopeless(errPulling))
		})))
		err := runner(w, j).Run(t.Context(), p)
		var broken *StepError
		if !errors.As(err, &broken) || broken.Op != OpVerify || !errors.Is(err, errPulling) || errors.As(err, new(*TimeoutError)) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != 2*pollInterval {
			t.Errorf("it took %s", took)
		}
		if rec := record(t, j, "a", ClusterTarget); rec.Status != state.Failed || !strings.Contains(rec.Error, errPulling.Error()) {
			t.Errorf("record %+v", rec)
		}
	})
	if Hopeless(nil) != nil || IsHopeless(errNotYet) || IsHopeless(nil) {
		t.Error("what is no error, or not marked, is not hopeless")
	}
}

// One request to stop ends the wait for what is applied. The journal has it as
// applied, nothing after it is begun, and the next run verifies it.
func TestStopEndsAWait(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		stopAt, ready time.Duration
		verify        func(context.Context) error // nil: answers at once
		took          time.Duration
		want          state.Status
	}{
		"between two attempts":                  {stopAt: 8200 * time.Millisecond, ready: time.Hour, took: 8200 * time.Millisecond, want: state.Applied},
		"in an attempt that does not end":       {stopAt: 8200 * time.Millisecond, ready: time.Hour, verify: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, took: 8200*time.Millisecond + lastLook, want: state.Applied},
		"before the wait, and it is so at once": {stopAt: -1, took: 0, want: state.Verified},
		"before the wait, and it is not so":     {stopAt: -1, ready: time.Hour, took: 0, want: state.Applied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, j, heard, stop := newWorld(), newJournal(t), &told{}, make(chan struct{})
				if tt.stopAt < 0 {
					w.touch = func(_ StepID, _, value string) error {
						if value == "new" {
							close(stop)
						}
						return nil
					}
				} else {
					time.AfterFunc(tt.stopAt, func() { close(stop) })
				}
				s := step("a", Once, late(tt.ready, notYet))
				if tt.verify != nil {
					s.Verify = func(ctx context.Context, _ reader) error { return tt.verify(ctx) }
				}
				r := runner(w, j)
				r.Stop, r.Events = stop, heard
				start := time.Now()
				err := r.Run(t.Context(), phase(s, step("b", Once)))
				if !errors.Is(err, ErrStopped) || time.Since(start) != tt.took {
					t.Errorf("got %v after %s", err, time.Since(start))
				}
				var stopped *StoppedError
				if errors.As(err, &stopped) != (tt.want == state.Applied) || stopped != nil && stopped.Step != "a" {
					t.Errorf("got %#v", err)
				}
				if rec := record(t, j, "a", ClusterTarget); rec.Status != tt.want {
					t.Errorf("the journal has %s", rec.Status)
				}
				if last := heard.events[len(heard.events)-1]; last.Kind != EventStopped || slices.Contains(w.ops, "b@cluster=half") {
					t.Errorf("did %v and told %+v", w.ops, last)
				}
				w.ops = nil
				w.touch = func(StepID, string, string) error { return nil }
				if err := runner(w, j).Run(t.Context(), phase(step("a", Once), step("b", Once))); err != nil {
					t.Fatal(err)
				}
				if rec := record(t, j, "a", ClusterTarget); rec.Status != state.Verified || rec.Attempts != 1 || rec.Before["was"] != "old" || len(w.ops) != 2 {
					t.Errorf("then: %+v, %v", rec, w.ops)
				}
			})
		})
	}
}

// A step that is no place to stop goes on, and says once why and how long at
// most.
func TestStopDoesNotEndTheWaitOfAStepThatMustGoOn(t *testing.T) {
	t.Parallel()
	undo := func(s *Step[reader, writer]) {
		s.OneWay, s.Undo = "", func(_ context.Context, h writer, _ Before) error { return h.set(s.ID, "old") }
	}
	for name, with := range map[string]func(*Step[reader, writer]){
		"two voters":          func(s *Step[reader, writer]) { s.KeepGoing = true },
		"part of one change":  func(s *Step[reader, writer]) { undo(s); s.Group = "restart" },
		"the API may be away": func(s *Step[reader, writer]) { s.Outage = time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, j, heard, stop := newWorld(), newJournal(t), &told{}, make(chan struct{})
				time.AfterFunc(8200*time.Millisecond, func() { close(stop) })
				r := runner(w, j)
				r.Stop, r.Events = stop, heard
				start := time.Now()
				err := r.Run(t.Context(), phase(step("a", Once, late(30*time.Second, notYet), with), step("b", Once), step("c", Once)))
				if !errors.Is(err, ErrStopped) || time.Since(start) != 30*time.Second {
					t.Errorf("got %v after %s", err, time.Since(start))
				}
				if rec := record(t, j, "a", ClusterTarget); rec.Status != state.Verified {
					t.Errorf("the journal has %s", rec.Status)
				}
				said := 0
				for _, e := range heard.events {
					if e.Kind == EventStepWaiting && strings.Contains(e.Message, "asked to stop, and it goes on for at most 9m5") && strings.Contains(e.Message, errNotYet.Error()) {
						said++
					}
				}
				if said != 1 {
					t.Errorf("said %d times: %v", said, heard.lines())
				}
			})
		})
	}
}

// A way back that is asked to stop ends its wait as well; what is half taken
// back is undone by the next one.
func TestStopEndsTheWaitOfAWayBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, j, stop := newWorld(), newJournal(t), make(chan struct{})
		stuck := true
		s := step("a", Once, func(s *Step[reader, writer]) {
			s.OneWay, s.Undo = "", func(_ context.Context, h writer, _ Before) error {
				if stuck {
					return fmt.Errorf("waiting for a person: %w", ErrStopped) // phases.AwaitOrStop
				}
				return h.set("a", "old")
			}
		})
		if err := runner(w, j).Run(t.Context(), phase(s)); err != nil {
			t.Fatal(err)
		}
		r := runner(w, j)
		r.Stop = stop
		var stopped *StoppedError
		if err := r.Rollback(t.Context(), phase(s)); !errors.As(err, &stopped) || stopped.Op != OpUndo || stopped.Status != state.Undoing {
			t.Errorf("got %v", err)
		}
		if rec := record(t, j, "a", ClusterTarget); rec.Status != state.Undoing || rec.Error != "" {
			t.Errorf("record %+v", rec)
		}
		stuck = false
		if err := runner(w, j).Rollback(t.Context(), phase(s)); err != nil {
			t.Fatal(err)
		}
		if rec := record(t, j, "a", ClusterTarget); rec.Status != state.Undone {
			t.Errorf("record %+v", rec)
		}
	})
}
