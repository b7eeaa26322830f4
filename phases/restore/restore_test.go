// Half of the time of these tests would be spent on the handshakes of a key
// exchange that they say nothing about.
//go:debug tlsmlkem=0

package restore_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/restore"
	"hamigrate/phases/simulator"
)

const (
	snapshotRevision = 900
	remains          = "/var/lib/etcd-external/member/wal"
)

// restoring is a restore from the operator's files.
func restoring() restore.Options {
	operator := remotetest.New("operator")
	upload := func(path, content string) restore.Upload {
		operator.Put(remote.File{Path: path, Data: []byte(content), Mode: 0o600, Owner: "root:root"})
		return restore.Upload{From: operator, Path: path, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(content)))}
	}
	const id = "restore-20000101t000000z-0123abcd"
	return restore.Options{
		ID: id, ClusterID: simulator.RestoredID(id), Revision: snapshotRevision,
		Snapshot: upload("/backup/etcd.db", simulator.SnapshotOf(snapshotRevision)),
		Program:  upload("/bin/migrate", "\x7fELF migrate\n"),
		FitsServer: func(version string) error {
			if !strings.HasPrefix(version, "3.") {
				return fmt.Errorf("%q is no version", version)
			}
			return nil
		},
		RunsOn: func(machine string) error {
			if machine != "Linux x86_64\n" {
				return fmt.Errorf("the host is %s", machine)
			}
			return nil
		},
	}
}

// lost are clusters whose etcd lost all of its data: with one API server,
// after phase 2, and with three, after phase 3.
func lost(t *testing.T) map[string]*simulator.Saved {
	t.Helper()
	out := map[string]*simulator.Saved{}
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		for _, p := range conformance.AllPhases(phases.InPlace) {
			if err := o.RunPhase(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if p.Number > 1 {
				out[p.Name] = w.Save()
			}
		}
	})
	for name, s := range out {
		synctest.Test(t, func(t *testing.T) {
			w := s.World(t)
			defer w.Close()
			if err := w.Lose("e1", "e2", "e3"); err != nil {
				t.Fatal(err)
			}
			// Of one there is something left, which is nobody's any more.
			if err := w.Root("e2", "mkdir -p "+remains+"; echo half >"+remains+"/0.wal"); err != nil {
				t.Fatal(err)
			}
			w.Pass(2 * time.Minute)
			out[name] = w.Save()
		})
	}
	return out
}

// restoredEnd runs a restore without a fault, and wants what it is for.
func restoredEnd(t *testing.T, name string, start *simulator.Saved, watch func(*conformance.Operator) func(simulator.Point)) (end map[string]string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := start.World(t)
		defer w.Close()
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		look, err := restoring().See(t.Context(), o.Env.Reader(migrate.ClusterTarget))
		if err != nil || look.Refused != "" {
			t.Fatalf("%s: refused: %q, %v", name, look.Refused, err)
		}
		w.Watch = watch(o)
		if err := o.RunPhase(t.Context(), restore.Phase(restoring())); err != nil {
			t.Fatalf("%s: %v; never may be: %q", name, err, w.Broken())
		}
		w.Watch = nil
		if err := phases.CheckInvariants(t.Context(), o.Env.Reader(migrate.ClusterTarget)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		e, err := o.Env.Reader(migrate.ClusterTarget).Etcd(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range e.Statuses(t.Context()) {
			if a.Err != nil || a.Status.ClusterID != restoring().ClusterID || a.Status.Revision < 1_000_000_000 {
				t.Errorf("%s: the member on %s: %+v, %v", name, a.Host, a.Status, a.Err)
			}
		}
		w.Pass(conformance.Lasting)
		end = w.State()
		if got := end["e2 /var/lib/migrate/lost/"+restoring().ID+"/member-1/wal/0.wal"]; !strings.Contains(got, "half") {
			t.Errorf("%s: what was left on e2 is not set aside: %q", name, got)
		}
		if strings.Contains(end["etcd"], simulator.StaleAddress) {
			t.Errorf("%s: a lease of an API server that is no more is still there:\n%s", name, end["etcd"])
		}
		if broken := w.Broken(); len(broken) > 0 {
			t.Errorf("%s: never may be: %q", name, broken)
		}
	})
	return end
}

// TestRestoreKilledAtAnyInstantThenRunAgain loses all three members, restores
// them, kills the restore before and after each of its changes, and wants the
// end that an uninterrupted one has.
func TestRestoreKilledAtAnyInstantThenRunAgain(t *testing.T) {
	for name, start := range lost(t) {
		var deaths []conformance.Death
		end := restoredEnd(t, name, start, func(o *conformance.Operator) func(simulator.Point) {
			return func(p simulator.Point) {
				d := conformance.Death{Point: p, Run: name, Journal: o.JournalFile(), At: time.Now()}
				if n := len(deaths); n > 0 && deaths[n-1].Like(d) {
					return
				}
				deaths = append(deaths, d)
			}
		})
		if t.Failed() {
			return
		}
		t.Run(name, func(t *testing.T) {
			for i, d := range deaths {
				if !conformance.Share(i, 5) {
					continue
				}
				t.Run(fmt.Sprintf("%03d %s", i, conformance.Label(d.Op, d.When)), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { resumeRestore(t, d, end) })
				})
			}
		})
		t.Logf("%s: killed at %d instants", name, len(deaths))
	}
}

func resumeRestore(t *testing.T, d conformance.Death, end map[string]string) {
	w := d.World.World(t)
	defer w.Close()
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, bytes.Clone(d.Journal), 0o600); err != nil {
		t.Fatal(err)
	}
	o := conformance.NewOperator(t, w, path)
	defer o.Close()
	look, err := restoring().See(t.Context(), o.Env.Reader(migrate.ClusterTarget))
	if err != nil || look.Refused != "" {
		t.Fatalf("refused: %q, %v", look.Refused, err)
	}
	if err := o.RunPhase(t.Context(), restore.Phase(restoring())); err != nil {
		t.Fatalf("%v; never may be: %q", err, w.Broken())
	}
	w.Pass(conformance.Lasting)
	got := w.State()
	// The world lists a folder that a script has made; of others it knows by
	// what is in them.
	end = maps.Clone(end) // others compare with it at the same time
	for _, made := range []map[string]string{got, end} {
		maps.DeleteFunc(made, func(name, _ string) bool { return strings.HasSuffix(name, " /etc/kubernetes/manifests/") })
	}
	if !maps.Equal(end, got) {
		t.Errorf("the end is another one:\n%s", cmp.Diff(end, got))
	}
}

// TestRestoreIsRefused: where a quorum answers, where etcd is not on its own
// hosts, and where a host has no etcd.
func TestRestoreIsRefused(t *testing.T) {
	refused := func(t *testing.T, w *simulator.World, want string) {
		t.Helper()
		env := w.Connect()
		defer env.Close()
		look, err := restoring().See(t.Context(), env.Reader(migrate.ClusterTarget))
		if err != nil || !strings.Contains(look.Refused, want) {
			t.Errorf("refused with %q, %v; want %q", look.Refused, err, want)
		}
		if ops := w.Faults.Ops(); len(ops) > 0 {
			t.Errorf("it has changed something: %q", ops)
		}
	}
	var after *simulator.Saved
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		refused(t, w, "which is on none of the etcd hosts")
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		for _, p := range conformance.AllPhases(phases.InPlace)[:2] {
			if err := o.RunPhase(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		after = w.Save()
	})
	synctest.Test(t, func(t *testing.T) {
		w := after.World(t)
		defer w.Close()
		if err := w.Lose("e3"); err != nil {
			t.Fatal(err)
		}
		w.Pass(time.Minute)
		refused(t, w, "a quorum of etcd's members answers")
		if err := w.Root("e1", "echo aarch64 > /proc/sys/kernel/arch"); err != nil {
			t.Fatal(err)
		}
		refused(t, w, "the data on e1 is restored by a copy of this program, and the host is Linux aarch64")
		if err := w.Root("e1", "echo x86_64 > /proc/sys/kernel/arch"); err != nil {
			t.Fatal(err)
		}
		if err := w.Root("e2", "rm -f /usr/local/bin/etcd"); err != nil {
			t.Fatal(err)
		}
		refused(t, w, "e2 has no etcd.service or no /usr/local/bin/etcd")
	})
	// Members that are well and refuse whoever asks are no lost quorum.
	synctest.Test(t, func(t *testing.T) {
		w := after.World(t)
		defer w.Close()
		const pki = "/etc/kubernetes/pki/apiserver-"
		if err := w.Root("cp1", "cp "+pki+"kubelet-client.crt "+pki+"etcd-client.crt; cp "+pki+"kubelet-client.key "+pki+"etcd-client.key"); err != nil {
			t.Fatal(err)
		}
		refused(t, w, "3 members of etcd listen and may be a quorum (e1, e2, e3)")
		if err := w.Root("e3", "systemctl stop etcd.service"); err != nil {
			t.Fatal(err)
		}
		refused(t, w, "2 members of etcd listen and may be a quorum (e1, e2)")
		for _, host := range []string{"e1", "e2"} {
			if err := w.Root(host, "systemctl stop etcd.service"); err != nil {
				t.Fatal(err)
			}
		}
		w.Pass(time.Minute)
		env := w.Connect()
		defer env.Close()
		if look, err := restoring().See(t.Context(), env.Reader(migrate.ClusterTarget)); err != nil || look.Refused != "" {
			t.Errorf("with all members stopped it is refused with %q, %v", look.Refused, err)
		}
	})
}

// TestLawsOfRestore holds each of its steps to what the engine relies on.
func TestLawsOfRestore(t *testing.T) {
	start := lost(t)["controlplane"]
	synctest.Test(t, func(t *testing.T) {
		w := start.World(t)
		defer w.Close()
		env := w.Connect()
		defer env.Close()
		p := restore.Phase(restoring())
		if err := migrate.Validate(p); err != nil {
			t.Fatal(err)
		}
		applied := 0
		for _, s := range p.Steps {
			targets, err := env.Targets(t.Context(), s.On)
			if err != nil {
				t.Fatal(err)
			}
			for _, target := range targets {
				l := conformance.Law{T: t, World: w, Env: env, Step: s, Target: target}
				if _, changed := l.Hold(); changed {
					applied++
				}
			}
		}
		t.Logf("%d changes", applied)
		if applied < 20 {
			t.Errorf("there was nothing to do")
		}
	})
}
