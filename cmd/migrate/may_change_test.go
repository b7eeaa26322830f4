package main

import (
	"context"
	"errors"
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"sync"
	"testing"

	"hamigrate/internal/source"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/phases/preflight"
	"hamigrate/phases/restore"
	"hamigrate/state"

	"github.com/google/go-cmp/cmp"
)

// logins are hosts whose logins may change something, but to those named.
type logins struct {
	onlyLook []string
	mu       sync.Mutex
	asked    []string
}

func (l *logins) Host(_ context.Context, h cluster.Host) (remote.Host, error) {
	return &loginOf{logins: l, name: h.Name}, nil
}

type loginOf struct {
	remote.Host
	logins *logins
	name   string
}

func (l *loginOf) Look(context.Context, remote.Command) (string, error) { return "yes", nil }

func (l *loginOf) MayChange(context.Context) error {
	l.logins.mu.Lock()
	defer l.logins.mu.Unlock()
	l.logins.asked = append(l.logins.asked, l.name)
	if slices.Contains(l.logins.onlyLook, l.name) {
		return looksOnly(l.name)
	}
	return nil
}

func looksOnly(name string) error {
	return &remote.LooksOnlyError{Host: name, User: "ops", Allow: "migrate sudoers --file a.yaml --host " + name + " | ssh root@" + name + " 'x'"}
}

// sessionOn is a session on the example's cluster, over these logins.
func sessionOn(t *testing.T, l *logins) (*session, *state.Journal) {
	t.Helper()
	spec, err := cluster.Parse("../../testdata/migrate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	j, err := state.Open(t.TempDir()+"/journal", state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return &session{spec: spec, world: phases.NewWorld(spec, l)}, j
}

// did notes in a journal that the steps of a phase on these hosts are done.
func did(t *testing.T, j *state.Journal, s *session, p phases.Phase, hosts ...string) {
	t.Helper()
	if err := j.BeginPhase(p.Number, "spec", migrate.Fingerprint(p), nil); err != nil {
		t.Fatal(err)
	}
	for _, step := range p.Steps {
		targets, err := s.world.Targets(t.Context(), step.On)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range targets {
			if !slices.Contains(hosts, target) {
				continue
			}
			key := state.Key{Phase: p.Number, Step: string(step.ID), Target: target}
			for _, e := range []state.Event{state.Start, state.ApplyDone, state.VerifyDone} {
				if _, err := j.Advance(key, state.Change{Event: e}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestWhoIsAskedWhetherItMayChange: each host that what is ahead may change, and no
// other.
func TestWhoIsAskedWhetherItMayChange(t *testing.T) {
	t.Parallel()
	all := allPhases(phases.Overlap)
	for name, c := range map[string]struct {
		before func(*testing.T, *state.Journal, *session)
		hosts  func(context.Context, *session, *state.Journal) ([]string, error)
		want   []string
	}{
		"run, phase 2 never begun": {
			hosts: func(ctx context.Context, s *session, j *state.Journal) ([]string, error) {
				return toBeDone(ctx, s, j, all[1:2])
			},
			want: []string{"cp1", "e1", "e2", "e3"},
		},
		"run, phase 2 begun, e1 done": {
			before: func(t *testing.T, j *state.Journal, s *session) { did(t, j, s, all[1], "cluster", "cp1", "e1") },
			hosts: func(ctx context.Context, s *session, j *state.Journal) ([]string, error) {
				return toBeDone(ctx, s, j, all[1:2])
			},
			want: []string{"cp1", "e2", "e3"},
		},
		"run, phase 2 complete": {
			before: func(t *testing.T, j *state.Journal, s *session) {
				did(t, j, s, all[1], "cluster", "cp1", "e1", "e2", "e3")
			},
			hosts: func(ctx context.Context, s *session, j *state.Journal) ([]string, error) {
				return toBeDone(ctx, s, j, all[1:2])
			},
			want: []string{"cp1"},
		},
		"rollback, phase 3 begun on cp2": {
			before: func(t *testing.T, j *state.Journal, s *session) { did(t, j, s, all[2], "cp2") },
			hosts: func(ctx context.Context, s *session, j *state.Journal) ([]string, error) {
				return toBeTakenBack(ctx, s, j, all[2:])
			},
			want: []string{"cp1", "cp2", "lb1", "w1", "w2"},
		},
		"certs renew, due on e2": {
			hosts: func(context.Context, *session, *state.Journal) ([]string, error) {
				return toBeRenewed([]migrate.Entry{
					{Target: "e1", Finding: migrate.Finding{Verdict: migrate.Satisfied}},
					{Target: "e2", Finding: migrate.Finding{Verdict: migrate.Needed}},
				}), nil
			},
			want: []string{"cp1", "e2"},
		},
		"restore": {
			hosts: func(ctx context.Context, s *session, _ *state.Journal) ([]string, error) {
				return toBeRestored(ctx, s, restore.Phase(restore.Options{}))
			},
			want: []string{"cp1", "cp2", "cp3", "e1", "e2", "e3"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &logins{}
			s, j := sessionOn(t, l)
			if c.before != nil {
				c.before(t, j, s)
			}
			hosts, err := c.hosts(t.Context(), s, j)
			if err != nil {
				t.Fatal(err)
			}
			if err := mayChange(t.Context(), s, hosts); err != nil {
				t.Fatal(err)
			}
			slices.Sort(l.asked)
			if diff := cmp.Diff(c.want, l.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAskedBeforeAnythingChanges: whatever holds the cluster, or begins a restore,
// has asked before.
func TestAskedBeforeAnythingChanges(t *testing.T) {
	t.Parallel()
	seen := 0
	source.Each(t, func(file source.File) {
		for _, d := range file.AST.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil || f.Name.Name == "with" {
				continue
			}
			asked := token.Pos(0)
			ast.Inspect(f.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				id, _ := call.Fun.(*ast.Ident)
				method, _ := call.Fun.(*ast.SelectorExpr)
				switch {
				case id != nil && id.Name == "mayChange":
					asked = call.Pos()
				case id != nil && (id.Name == "runRestore" || id.Name == "holdCluster"), method != nil && isName(method, "r", "with"):
					if seen++; asked == 0 {
						t.Errorf("%s: %s changes something and has not asked by mayChange", file.At(call), f.Name.Name)
					}
				}
				return true
			})
		}
	})
	if seen < 5 {
		t.Errorf("%d places were found that change something", seen)
	}
}

// TestAllowedByALineThatCanBePasted: the command that allows what a login was
// refused stands on a line of its own, whoever wraps the error.
func TestAllowedByALineThatCanBePasted(t *testing.T) {
	t.Parallel()
	l := &logins{onlyLook: []string{"cp1", "lb1"}}
	s, _ := sessionOn(t, l)
	several := mayChange(t.Context(), s, []string{"cp1", "lb1", "w1"})
	cp2 := errors.Join(looksOnly("cp2"))
	refused := &remote.RefusedError{Host: "cp2", User: "ops", Command: "nft list", Allow: looksOnly("cp2").(*remote.LooksOnlyError).Allow}
	row := preflight.Result{Number: 1, Check: "Ports", Host: "cp2", Severity: preflight.Blocking, Phases: []int{1}, Seen: "not looked at", Remedy: "allow it with: " + refused.Allow, Command: refused.Allow}
	where := migrate.Where{Phase: 1, Step: "a/step", Target: "cp2"}
	for what, c := range map[string]struct {
		err   error
		hosts []string
	}{
		"alone":                  {looksOnly("cp2"), []string{"cp2"}},
		"several":                {several, []string{"cp1", "lb1"}},
		"in a step":              {&migrate.StepError{Where: where, Op: migrate.OpApply, Err: cp2}, []string{"cp2"}},
		"a look in a step":       {&migrate.StepError{Where: where, Op: migrate.OpCheck, Err: refused}, []string{"cp2"}},
		"why it is blocked":      {&migrate.BlockedError{Where: where, Err: refused, Reason: "not well: " + refused.Error(), Remedy: "mend that"}, []string{"cp2"}},
		"what preflight asks of": {refuse(1, []preflight.Result{row}), []string{"cp2"}},
		"several, wrapped":       {&migrate.StepError{Where: where, Err: several}, []string{"cp1", "lb1"}},
	} {
		shown := string(inLines(c.err, " --file a.yaml"))
		for _, host := range c.hosts {
			if !hasLine(shown, looksOnly(host).(*remote.LooksOnlyError).Allow) {
				t.Errorf("%s: the command for %s can't be pasted:\n%s", what, host, shown)
			}
		}
		if strings.Contains(shown, show.Continued) {
			t.Errorf("%s: lines of ours are shown as those of others:\n%s", what, shown)
		}
	}
	var out strings.Builder
	printBad(&out, row, false)
	if !hasLine(out.String(), refused.Allow) {
		t.Errorf("a row of preflight: %s", out.String())
	}
}

func hasLine(text, want string) bool {
	return slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool { return strings.TrimSpace(line) == want })
}
