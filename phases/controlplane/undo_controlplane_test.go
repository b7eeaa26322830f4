package controlplane_test

import (
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
	"hamigrate/phases/controlplane"
	"hamigrate/phases/simulator"
)

// withoutPhase3 leaves out what phase 3 may leave behind when it is undone:
// CoreDNS where it was spread to, our own folder on the joining nodes, and in
// it copies of files.
func withoutPhase3(state map[string]string) map[string]string {
	state = maps.Clone(state)
	maps.DeleteFunc(state, func(name, _ string) bool {
		for _, allowed := range []string{"roll-outs", "object deployments kube-system/coredns", "object pods kube-system/coredns-",
			"cp2 /var/lib/migrate/", "cp3 /var/lib/migrate/"} {
			if strings.HasPrefix(name, allowed) {
				return !slices.Contains([]string{"joining", "leaving", "join.yaml"}, filepath.Base(name))
			}
		}
		return false
	})
	return state
}

// spread leaves out how often CoreDNS was spread.
func spread(state map[string]string) map[string]string {
	state = maps.Clone(state)
	maps.DeleteFunc(state, func(name, _ string) bool {
		return name == "roll-outs" || strings.HasPrefix(name, "object pods kube-system/coredns-")
	})
	return state
}

// TestControlPlaneIsTakenBack takes the whole phase back and does it again.
func TestControlPlaneIsTakenBack(t *testing.T) {
	conformance.On(t, 2, phases.Overlap, func(s conformance.Stage) {
		s.Pass(conformance.Lasting)
		before, outages := s.State(), s.Outages()
		if err := s.Phase(3, phases.Overlap); err != nil {
			s.Fatal(err)
		}
		s.Pass(conformance.Lasting)
		end := s.State()
		if err := s.Rollback(s.Context(), controlplane.Phase()); err != nil {
			s.Fatal(err)
		}
		s.Pass(conformance.Lasting)
		if diff := cmp.Diff(withoutPhase3(before), withoutPhase3(s.State())); diff != "" {
			s.Errorf("undone, not all is as it was:\n%s", diff)
		}
		for _, node := range []string{"cp1", "w1", "w2"} {
			conformance.Forgotten(s, node, "10.88.0.12:6443", "10.88.0.13:6443")
		}
		conformance.Forgotten(s, "cp2", "10.88.0.12:6443", "10.88.0.13:6443")
		conformance.Forgotten(s, "cp3", "10.88.0.13:6443")
		if err := s.Phase(3, phases.Overlap); err != nil {
			s.Fatalf("done again: %v", err)
		}
		s.Pass(conformance.Lasting)
		if diff := cmp.Diff(spread(end), spread(s.State())); diff != "" {
			s.Errorf("done again, the end is another one:\n%s", diff)
		}
		conformance.Noticed(s.T, s.World, outages)
	})
}

// TestWayBackOfANodeThatCouldNotJoinNow: what a joining node would lack by now
// does not keep one that has joined from leaving.
func TestWayBackOfANodeThatCouldNotJoinNow(t *testing.T) {
	const ca = "/etc/ssl/certs/corp.pem"
	conformance.On(t, 3, phases.InPlace, func(s conformance.Stage) {
		s.Script("cp1", "mkdir -p /etc/ssl/certs\necho a CA >"+ca)
		edit(s, apiServerFile, "    - --allow-privileged=true\n", "    - --allow-privileged=true\n    - --oidc-ca-file="+ca+"\n")
		if err := s.Rollback(s.Context(), conformance.AllPhases(phases.InPlace)[2]); err != nil {
			s.Fatal(err)
		}
		for _, node := range []string{"cp2", "cp3"} {
			if _, there := s.State()[node+" /etc/kubernetes/kubelet.conf"]; there || strings.Contains(s.State()[node+" runs"], "kubelet") {
				s.Errorf("%s has not left: %q", node, s.State()[node+" runs"])
			}
		}
	})
}

// TestLawsOfControlPlanesWayBack: each step undone leaves the world as it was
// before that step, twice as once.
func TestLawsOfControlPlanesWayBack(t *testing.T) {
	pinned := func(text string) string {
		return strings.Replace(text, "  - name: audit-policy-file\n", "  - name: advertise-address\n    value: 10.88.0.11\n  - name: audit-policy-file\n", 1)
	}
	conformance.On(t, 2, phases.InPlace, func(s conformance.Stage) {
		s.Script("cp2", "mkdir -p /etc/kubernetes/pki /etc/kubernetes/enc; echo mine > /etc/kubernetes/pki/own.pem; echo other > /etc/kubernetes/enc/enc.yaml")
		// A reset empties the folder that a link leads to, and removes links in it.
		s.Script("cp3", "mkdir -p /opt/pki /opt/kept; ln -s /opt/pki /etc/kubernetes/pki; echo mine > /etc/kubernetes/pki/own.pem; ln -s /opt/kept/oidc.pem /opt/pki/oidc.pem; ln -s /opt/kept /opt/pki/kept; echo kept > /opt/kept/oidc.pem; mkdir -p /var/lib/kubelet; echo login > /var/lib/kubelet/config.json")
		s.Pass(25 * time.Hour) // all tokens have ended
		p := controlplane.Phase()
		plan, err := migrate.Plan(s.Context(), s.Env, p, conformance.NoJournal{})
		if err != nil {
			s.Fatal(err)
		}
		type done struct {
			conformance.Law
			was map[string]string
		}
		var list []done
		for _, e := range plan {
			i := slices.IndexFunc(p.Steps, func(step phases.Step) bool { return step.ID == e.Step })
			l := conformance.Law{T: s.T, World: s.World, Env: s.Env, Step: p.Steps[i], Target: e.Target}
			s.Pass(time.Minute)
			was := s.State()
			changed := false
			if l.Before, changed = l.Hold(); changed && l.Step.Undo != nil {
				list = append(list, done{l, was})
			}
		}
		if len(list) != 8 {
			s.Fatalf("%d steps with a way back were applied", len(list))
		}
		outages := s.Outages()
		for _, d := range slices.Backward(list) {
			d.Undo(s.Context())
			once := s.State()
			d.Undo(s.Context())
			if diff := cmp.Diff(once, s.State()); diff != "" {
				d.Fatal("undone twice, the world is another one than undone once:\n%s", diff)
			}
			if diff := cmp.Diff(withoutPhase3(d.was), withoutPhase3(once)); diff != "" {
				d.Fatal("undone, not all is as it was before it:\n%s", diff)
			}
		}
		conformance.Noticed(s.T, s.World, outages)
		for _, d := range list {
			if _, changed := d.Hold(); !changed {
				d.Fatal("undone, and there is nothing to apply")
			}
		}
	}, simulator.KubeadmConfig(pinned))
}

// controlPlaneDeaths runs phase 3 and takes it back, and returns all instants
// of one of the two at which the program may die, with where it begins.
func controlPlaneDeaths(t *testing.T, back bool) (deaths []conformance.Death, r conformance.Run, end map[string]string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		for _, p := range conformance.AllPhases(phases.Overlap)[:2] {
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
			return saved.State()
		}
		r.Phase, end = controlplane.Phase(), aside()
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
	return deaths, r, end
}

// TestControlPlaneKilledThenTakenBack kills the program at any instant of phase
// 3, and of its way back, and then takes the phase back: nobody notices, and
// all is as it was. Killed on the way back, the phase is also gone on with.
func TestControlPlaneKilledThenTakenBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for name, back := range map[string]bool{"forward": false, "back": true} {
		t.Run(name, func(t *testing.T) {
			deaths, r, before := controlPlaneDeaths(t, back)
			if t.Failed() {
				return
			}
			t.Run("instants", func(t *testing.T) {
				for i, d := range deaths {
					if !conformance.Share(i, 5) {
						continue
					}
					title := fmt.Sprintf("%03d %s", i, conformance.Label(d.Op, d.When))
					t.Run(title, func(t *testing.T) {
						t.Parallel()
						synctest.Test(t, func(t *testing.T) { takeUp(t, d, r, before, true) })
					})
					if back {
						t.Run(title+" forward", func(t *testing.T) {
							t.Parallel()
							synctest.Test(t, func(t *testing.T) { takeUp(t, d, r, before, false) })
						})
					}
				}
			})
			t.Logf("%d instants", len(deaths))
		})
	}
}

// takeUp starts the program again with what a death has left, to take the
// phase back or to do it.
func takeUp(t *testing.T, d conformance.Death, r conformance.Run, before map[string]string, back bool) {
	w := d.World.World(t)
	defer w.Close()
	outages := w.Outages()
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, d.Journal, 0o600); err != nil {
		t.Fatal(err)
	}
	o := conformance.NewOperator(t, w, path)
	defer o.Close()
	do := o.RunPhase
	if back {
		do = o.Rollback
	}
	if err := do(t.Context(), r.Phase); err != nil {
		t.Fatalf("%v; never may be: %q", err, w.Broken())
	}
	w.Pass(conformance.Lasting)
	conformance.Noticed(t, w, outages)
	want, got := withoutPhase3(before), withoutPhase3(w.State())
	if !back {
		want, got = spread(r.End), spread(w.State())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the end is another one:\n%s", diff)
	}
	if broken := w.Broken(); len(broken) > 0 {
		t.Errorf("never may be: %q", broken)
	}
}

// TestNodesThatMayNotLeave: what would hurt is refused before the first change
// on that node.
func TestNodesThatMayNotLeave(t *testing.T) {
	for name, c := range map[string]struct {
		host, script string
		place        bool // a pod of nobody's
		behind       bool // the load balancer
	}{
		"nothing makes it again": {place: true},
		"an etcd runs on cp2":    {host: "cp2", script: "mkdir -p /proc/99; echo etcd > /proc/99/comm; echo etcd > /proc/99/cmdline; ln -s /usr/bin/etcd /proc/99/exe"},
		"lb1 forwards to":        {behind: true},
		"connection refused":     {host: "cp1", script: "mv /etc/kubernetes/manifests/kube-apiserver.yaml /kube-apiserver.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.On(t, 3, phases.Overlap, func(s conformance.Stage) {
				p := controlplane.Phase()
				undo := func(id migrate.StepID, target string) error {
					i := slices.IndexFunc(p.Steps, func(step phases.Step) bool { return step.ID == id })
					return p.Steps[i].Undo(s.Context(), s.Env.Writer(target), nil)
				}
				if !c.behind {
					if err := undo("controlplane/backend", "cp2"); err != nil {
						s.Fatal(err)
					}
				}
				if c.place {
					s.Place("alone", "cp2", false)
				}
				if c.script != "" {
					s.Script(c.host, c.script)
				}
				s.Pass(time.Minute)
				ops := len(s.Faults.Ops())
				if err := undo("controlplane/join", "cp2"); err == nil || !strings.Contains(err.Error(), name) {
					s.Errorf("got %v", err)
				}
				if now := s.Faults.Ops(); len(now) != ops {
					s.Errorf("it made changes: %q", now[ops:])
				}
			})
		})
	}
}

// TestPodsMoveWithTheNode: what something makes again is evicted.
func TestPodsMoveWithTheNode(t *testing.T) {
	conformance.On(t, 3, phases.Overlap, func(s conformance.Stage) {
		s.Place("mover", "cp3", true)
		if err := s.Rollback(s.Context(), controlplane.Phase()); err != nil {
			s.Fatal(err)
		}
		if !slices.ContainsFunc(s.Faults.Ops(), func(op string) bool { return op == "api: evict pods kube-system/mover" }) {
			s.Error("it was not evicted")
		}
	})
}
