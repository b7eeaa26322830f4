package run

import (
	"context"
	"go/ast"
	"go/token"
	"slices"
	"testing"

	"hamigrate/internal/source"
	"hamigrate/phases/migration"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases"
	"hamigrate/phases/restore"
	"hamigrate/state"

	"github.com/google/go-cmp/cmp"
)

// sessionOn is a session on the example's cluster, over these logins.
func sessionOn(t *testing.T, l *remotetest.Logins) (*Session, *state.Journal) {
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
	return &Session{Spec: spec, Access: phases.NewAccess(spec, l)}, j
}

// did notes in a journal that the steps of a phase on these hosts are done.
func did(t *testing.T, j *state.Journal, s *Session, p phases.Phase, hosts ...string) {
	t.Helper()
	if err := j.BeginPhase(p.Number, "spec", migrate.Fingerprint(p), nil); err != nil {
		t.Fatal(err)
	}
	for _, step := range p.Steps {
		targets, err := s.Access.Targets(t.Context(), step.On)
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
	all := migration.Phases(phases.Overlap)
	for name, c := range map[string]struct {
		before func(*testing.T, *state.Journal, *Session)
		hosts  func(context.Context, *Session, *state.Journal) ([]string, error)
		want   []string
	}{
		"run, phase 2 never begun": {
			hosts: func(ctx context.Context, s *Session, j *state.Journal) ([]string, error) {
				return toBeDone(ctx, s, j, all[1:2])
			},
			want: []string{"cp1", "e1", "e2", "e3"},
		},
		"run, phase 2 begun, e1 done": {
			before: func(t *testing.T, j *state.Journal, s *Session) { did(t, j, s, all[1], "cluster", "cp1", "e1") },
			hosts: func(ctx context.Context, s *Session, j *state.Journal) ([]string, error) {
				return toBeDone(ctx, s, j, all[1:2])
			},
			want: []string{"cp1", "e2", "e3"},
		},
		"run, phase 2 complete": {
			before: func(t *testing.T, j *state.Journal, s *Session) {
				did(t, j, s, all[1], "cluster", "cp1", "e1", "e2", "e3")
			},
			hosts: func(ctx context.Context, s *Session, j *state.Journal) ([]string, error) {
				return toBeDone(ctx, s, j, all[1:2])
			},
			want: []string{"cp1"},
		},
		"rollback, phase 3 begun on cp2": {
			before: func(t *testing.T, j *state.Journal, s *Session) { did(t, j, s, all[2], "cp2") },
			hosts: func(ctx context.Context, s *Session, j *state.Journal) ([]string, error) {
				return toBeTakenBack(ctx, s, j, all[2:])
			},
			want: []string{"cp1", "cp2", "lb1", "w1", "w2"},
		},
		"certs renew, due on e2": {
			hosts: func(context.Context, *Session, *state.Journal) ([]string, error) {
				return toBeRenewed([]migrate.Entry{
					{Target: "e1", Finding: migrate.Finding{Verdict: migrate.Satisfied}},
					{Target: "e2", Finding: migrate.Finding{Verdict: migrate.Needed}},
				}), nil
			},
			want: []string{"cp1", "e2"},
		},
		"restore": {
			hosts: func(ctx context.Context, s *Session, _ *state.Journal) ([]string, error) {
				return toBeRestored(ctx, s, restore.Phase(restore.Options{}))
			},
			want: []string{"cp1", "cp2", "cp3", "e1", "e2", "e3"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &remotetest.Logins{}
			s, j := sessionOn(t, l)
			if c.before != nil {
				c.before(t, j, s)
			}
			hosts, err := c.hosts(t.Context(), s, j)
			if err != nil {
				t.Fatal(err)
			}
			if err := MayChange(t.Context(), s, hosts); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, l.Asked()); diff != "" {
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
				case id != nil && id.Name == "MayChange":
					asked = call.Pos()
				case id != nil && (id.Name == "runRestore" || id.Name == "takeLease"), method != nil && receives(method, "r", "with"):
					if seen++; asked == 0 {
						t.Errorf("%s: %s changes something and has not asked by MayChange", file.At(call), f.Name.Name)
					}
				}
				return true
			})
		}
	})
	if seen < 4 {
		t.Errorf("%d places were found that change something", seen)
	}
}

// receives says whether a selector is of this name, on what is called so.
func receives(s *ast.SelectorExpr, of, name string) bool {
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == of && s.Sel.Name == name
}
