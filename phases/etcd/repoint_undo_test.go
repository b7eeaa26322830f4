package etcd_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/etcd"
	"hamigrate/phases/simulator"
)

// etcdUpTo is phase 2 before a step. Of its steps, those that make the members
// have no way back here.
func etcdUpTo(strategy phases.Strategy, end migrate.StepID) phases.Phase {
	p := etcd.Phase().For(strategy.Choice())
	p.Steps = p.Steps[:slices.IndexFunc(p.Steps, func(s phases.Step) bool { return s.ID == end })]
	for i := range p.Steps {
		if p.Steps[i].ID == "etcd/move-leader" {
			break
		}
		p.Steps[i].Undo, p.Steps[i].OneWay = nil, "it is not of this test"
	}
	return p
}

// repointing is phase 2 as long as the old member is one: the leader moves, the
// API server restarts, and kubeadm-config follows.
func repointing(strategy phases.Strategy) phases.Phase {
	return etcdUpTo(strategy, "etcd/remove-member")
}

// realWithOldMember picks the first API server while it uses the old member.
func realWithOldMember(flags map[string]string) bool {
	return flags["secure-port"] == "6443" && !strings.Contains(flags["etcd-servers"], "10.88.0.21")
}

// repointed begins a test where all voters are there and the API server uses
// the new ones. before is how it was when it used the old one.
func repointed(t *testing.T, strategy phases.Strategy, play func(s conformance.Stage, before, end map[string]string), options ...simulator.Option) {
	t.Helper()
	conformance.On(t, 1, strategy, func(s conformance.Stage) {
		if err := s.RunPhase(s.Context(), etcdUpTo(strategy, "etcd/move-leader")); err != nil {
			s.Fatal(err)
		}
		s.Pass(conformance.Lasting)
		before := conformance.WithoutCopies(s.State())
		if err := s.RunPhase(s.Context(), repointing(strategy)); err != nil {
			s.Fatal(err)
		}
		s.Pass(conformance.Lasting)
		play(s, before, conformance.WithoutCopies(s.State()))
	}, options...)
}

// is wants a world, but for the copies of files.
func is(s conformance.Stage, want map[string]string) {
	s.T.Helper()
	s.Pass(conformance.Lasting)
	if diff := cmp.Diff(want, conformance.WithoutCopies(s.State())); diff != "" {
		s.Errorf("the world is another one:\n%s", diff)
	}
}

// overlapForgot: nobody who uses a port again is sent to an API server that is
// away or gone, while another one answers.
func overlapForgot(s conformance.Stage, strategy phases.Strategy) {
	s.T.Helper()
	if strategy == phases.Overlap {
		conformance.Forgotten(s, "cp1", "10.88.0.11:6443", "10.88.0.11:6444")
	}
}

// TestTheRepointingIsTakenBack and done again. Nobody notices where nobody is
// to notice.
func TestTheRepointingIsTakenBack(t *testing.T) {
	for _, strategy := range []phases.Strategy{phases.InPlace, phases.Overlap} {
		t.Run(string(strategy), func(t *testing.T) {
			repointed(t, strategy, func(s conformance.Stage, before, end map[string]string) {
				p := repointing(strategy)
				announced := time.Duration(0)
				for _, step := range p.Steps {
					announced += step.Outage
				}
				for range 2 {
					outages := s.Outages()
					if err := s.Rollback(s.Context(), p); err != nil {
						s.Fatal(err)
					}
					overlapForgot(s, strategy)
					for from, out := range s.Outages() {
						if out -= outages[from]; out > announced {
							s.Errorf("through the %s there was no API for %s, announced are %s", from, out, announced)
						}
					}
					is(s, before)
					if err := s.RunPhase(s.Context(), p); err != nil {
						s.Fatalf("done again: %v", err)
					}
					overlapForgot(s, strategy)
					is(s, end)
				}
				if err := s.Phase(2, strategy); err != nil {
					s.Fatalf("to its end: %v", err)
				}
			})
		})
	}
}

// TestTheRealOneIsNotReadyWithTheOldMember: it ends at its start with the
// former arguments, or never gets ready. The second one carries the clients,
// the node helps itself, and either way leads on.
func TestTheRealOneIsNotReadyWithTheOldMember(t *testing.T) {
	for name, c := range map[string]struct{ start, late, forward bool }{
		"then forward at once":            {forward: true},
		"then forward late":               {late: true, forward: true},
		"then back at once":               {},
		"then back late":                  {late: true},
		"at its start, then back at once": {start: true},
		"at its start, then forward late": {start: true, late: true, forward: true},
	} {
		if conformance.Sampled() && !c.start && (c.forward || !c.late) {
			continue // each of the three is taken once, in one way
		}
		t.Run(name, func(t *testing.T) {
			repointed(t, phases.Overlap, func(s conformance.Stage, before, end map[string]string) {
				p, outages := repointing(phases.Overlap), s.Outages()
				s.Ail(realWithOldMember, c.start)
				err := s.Rollback(s.Context(), p)
				var e *migrate.StepError
				if !errors.As(err, &e) || e.Step != "etcd/repoint-apiserver" || e.Op != migrate.OpUndo ||
					!strings.Contains(err.Error(), "clients are served by the second one") || !strings.Contains(err.Error(), "a timer there") {
					s.Fatalf("got %v", err)
				}
				if c.late {
					s.Pass(15 * time.Minute)
					if runs := s.State()["cp1 runs"]; strings.Count(runs, "--etcd-servers=https://10.88.0.21") != 1 {
						s.Errorf("the node has not put the manifest with the new members back: %s", runs)
					}
				}
				want, do := before, s.Rollback
				if c.forward {
					want, do = end, s.RunPhase // it is ill still
				} else {
					s.Ail(nil, false)
				}
				if err := do(s.Context(), p); err != nil {
					s.Fatal(err)
				}
				s.Ail(nil, false)
				is(s, want)
				conformance.Noticed(s.T, s.World, outages)
			})
		})
	}
}

// TestTheSecondOneIsNotReadyWithTheOldMember: nothing is sent to it, and it is
// taken away again.
func TestTheSecondOneIsNotReadyWithTheOldMember(t *testing.T) {
	for _, start := range []bool{false, true} {
		t.Run(fmt.Sprintf("at its start %t", start), func(t *testing.T) {
			repointed(t, phases.Overlap, func(s conformance.Stage, before, end map[string]string) {
				p, outages := repointing(phases.Overlap), s.Outages()
				s.Ail(conformance.IsTemporary, start)
				err := s.Rollback(s.Context(), p)
				var e *migrate.StepError
				if !errors.As(err, &e) || e.Step != "etcd/overlap-end" || !strings.Contains(err.Error(), "taken away again") {
					s.Fatalf("got %v", err)
				}
				s.Ail(nil, false)
				s.Pass(time.Minute)
				if now := s.State(); strings.Contains(now["cp1 runs"], "6444") || now["cp1 runs"] != end["cp1 runs"] {
					s.Errorf("cp1 runs %s", now["cp1 runs"])
				}
				if err := s.Rollback(s.Context(), p); err != nil {
					s.Fatal(err)
				}
				is(s, before)
				conformance.Noticed(s.T, s.World, outages)
			})
		})
	}
}

// TestOthersEditsStayOnTheWayBack: what somebody has written into the API
// server's manifest and into kubeadm-config since is kept.
func TestOthersEditsStayOnTheWayBack(t *testing.T) {
	const manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	const config = "object configmaps kube-system/kubeadm-config"
	for _, strategy := range []phases.Strategy{phases.InPlace, phases.Overlap} {
		t.Run(string(strategy), func(t *testing.T) {
			repointed(t, strategy, func(s conformance.Stage, before, _ map[string]string) {
				s.Script("cp1", "sed 's/--authorization-mode=.*/--authorization-mode=RBAC/' "+manifest+" > /x; mv /x "+manifest)
				editConfig(s, func(text string) string { return strings.Replace(text, "v1.36.3", "v1.36.4", 1) })
				s.Pass(time.Minute)
				if err := s.Rollback(s.Context(), repointing(strategy)); err != nil {
					s.Fatal(err)
				}
				s.Pass(conformance.Lasting)
				now := s.State()
				if want := strings.Replace(before[config], "v1.36.3", "v1.36.4", 1); now[config] != want {
					s.Errorf("kubeadm-config: %s", cmp.Diff(want, now[config]))
				}
				for _, word := range []string{"--authorization-mode=RBAC", "--etcd-servers=https://127.0.0.1:2379"} {
					if !strings.Contains(now["cp1 "+manifest], word) || !strings.Contains(now["cp1 runs"], word) {
						s.Errorf("cp1 runs %s, its manifest is\n%s", now["cp1 runs"], now["cp1 "+manifest])
					}
				}
			})
		})
	}
}

// editConfig edits the text of kubeadm-config as somebody else.
func editConfig(s conformance.Stage, edit func(string) string) {
	s.T.Helper()
	k, err := s.Env.Writer("cluster").Kube(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	err = k.EditConfigMap(s.Context(), "kube-system", "kubeadm-config", func(data map[string]string) error {
		data["ClusterConfiguration"] = edit(data["ClusterConfiguration"])
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
}

// TestSomebodysEtcdSectionStays: an etcd section that is neither of before nor
// ours is left alone, and said.
func TestSomebodysEtcdSectionStays(t *testing.T) {
	repointed(t, phases.InPlace, func(s conformance.Stage, before, _ map[string]string) {
		editConfig(s, func(text string) string { return strings.Replace(text, "10.88.0.23", "10.88.0.24", 1) })
		ops := len(s.Faults.Ops())
		err := s.Rollback(s.Context(), repointing(phases.InPlace))
		if err == nil || !strings.Contains(err.Error(), "changed by somebody else") || !strings.Contains(err.Error(), "kubectl") {
			s.Fatalf("got %v", err)
		}
		if now := s.Faults.Ops(); len(now) != ops {
			s.Errorf("it made changes: %q", now[ops:])
		}
		editConfig(s, func(text string) string { return strings.Replace(text, "10.88.0.24", "10.88.0.23", 1) })
		if err := s.Rollback(s.Context(), repointing(phases.InPlace)); err != nil {
			s.Fatal(err)
		}
		is(s, before)
	})
}

// TestOverlappedAndTakenBackInPlace: a phase that was overlapped can go back
// without a second API server, where none fits any more.
func TestOverlappedAndTakenBackInPlace(t *testing.T) {
	repointed(t, phases.Overlap, func(s conformance.Stage, before, _ map[string]string) {
		p := repointing(phases.Overlap)
		for i, step := range p.Steps {
			if step.OneWay == "" {
				p.Steps[i] = conformance.StepOf(etcd.Phase().For(phases.BackInPlace.Choice()), step.ID)
			}
		}
		if err := s.Rollback(s.Context(), p); err != nil {
			s.Fatal(err)
		}
		is(s, before)
	})
}

// repointingDeaths does the repointing and takes it back, and returns all
// instants of one of the two at which the program may die.
func repointingDeaths(t *testing.T, strategy phases.Strategy, back bool) (deaths []conformance.Death, r conformance.Run, before map[string]string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		for _, p := range []phases.Phase{conformance.AllPhases(strategy)[0], etcdUpTo(strategy, "etcd/move-leader")} {
			if err := o.RunPhase(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		watch := func(p simulator.Point) {
			d := conformance.Death{Point: p, Journal: o.JournalFile(), At: time.Now()}
			if n := len(deaths); n == 0 || !deaths[n-1].Like(d) {
				deaths = append(deaths, d)
			}
		}
		aside := func() map[string]string {
			saved := w.Save().World(t)
			defer saved.Close()
			saved.Pass(conformance.Lasting)
			return conformance.WithoutCopies(saved.State())
		}
		r.Phase, before = repointing(strategy), aside()
		if !back {
			w.Watch = watch
		}
		if err := o.RunPhase(t.Context(), r.Phase); err != nil {
			t.Fatal(err)
		}
		w.Watch = nil
		r.End = aside()
		if back {
			w.Watch = watch
			if err := o.Rollback(t.Context(), r.Phase); err != nil {
				t.Fatal(err)
			}
			w.Watch = nil
		}
	})
	return deaths, r, before
}

// TestRepointingKilledThenTakenBack kills the program at any instant of the
// repointing, and of its way back, and then takes it back, or does it: at once
// and, here and there, half an hour later. No client notices.
func TestRepointingKilledThenTakenBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for name, c := range map[string]struct {
		strategy phases.Strategy
		back     bool
	}{
		"forward": {phases.Overlap, false}, "back": {phases.Overlap, true}, "back in place": {phases.InPlace, true},
	} {
		t.Run(name, func(t *testing.T) {
			deaths, r, before := repointingDeaths(t, c.strategy, c.back)
			if t.Failed() {
				return
			}
			again := 0
			t.Run("instants", func(t *testing.T) {
				for i, d := range deaths {
					if !conformance.Share(i, 5) {
						continue
					}
					for _, forward := range []bool{false, true} {
						if forward && !c.back {
							continue // that is TestKilledAtAnyInstantThenRunAgain
						}
						again++
						title := fmt.Sprintf("%03d %s, forward %t", i, conformance.Label(d.Op, d.When), forward)
						t.Run(title, func(t *testing.T) {
							t.Parallel()
							synctest.Test(t, func(t *testing.T) {
								takeUpRepointing(t, d, r, before, forward, time.Duration(i%4/3)*30*time.Minute)
							})
						})
					}
				}
			})
			t.Logf("%d instants, %d times run again", len(deaths), again)
		})
	}
}

func takeUpRepointing(t *testing.T, d conformance.Death, r conformance.Run, before map[string]string, forward bool, later time.Duration) {
	w := d.World.World(t)
	defer w.Close()
	defer r.Unnoticed(t, w)()
	w.Pass(later)
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, d.Journal, 0o600); err != nil {
		t.Fatal(err)
	}
	o := conformance.NewOperator(t, w, path)
	defer o.Close()
	want, do := before, o.Rollback
	if forward {
		want, do = r.End, o.RunPhase
	}
	if err := do(t.Context(), r.Phase); err != nil {
		t.Fatalf("%v; never may be: %q", err, w.Broken())
	}
	w.Pass(conformance.Lasting)
	got := conformance.WithoutCopies(w.State())
	if !maps.Equal(want, got) {
		t.Errorf("the end is another one:\n%s", cmp.Diff(want, got))
	}
	if broken := w.Broken(); len(broken) > 0 {
		t.Errorf("never may be: %q", broken)
	}
}
