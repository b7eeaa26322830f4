// Half of the time of these tests would be spent on the handshakes of a key
// exchange that they say nothing about.
//go:debug tlsmlkem=0

package certs_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/certs"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// renewing is a renewal of everything that ends within so many days.
func renewing(id string, days int) certs.Options {
	return certs.Options{ID: id, Began: time.Now(), Within: time.Duration(days) * 24 * time.Hour}
}

// migrated is a cluster after all three phases.
func migrated(t *testing.T) (end *simulator.Saved) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		for _, p := range conformance.AllPhases(phases.InPlace) {
			if err := o.RunPhase(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		w.Pass(conformance.Lasting)
		end = w.Save()
	})
	return end
}

// operate runs do with an operator of a copy of a cluster, in a time of its own.
func operate(t *testing.T, start *simulator.Saved, do func(*testing.T, *simulator.World, *conformance.Operator)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := start.World(t)
		defer w.Close()
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		do(t, w, o)
	})
}

// serials are those of the certificates that a renewal is about, by host and
// file.
func serials(t *testing.T, w *simulator.World) map[string]string {
	t.Helper()
	out := map[string]string{}
	for host, files := range map[string][]string{
		"e1": memberFiles, "e2": memberFiles, "e3": memberFiles, "cp1": clientFiles, "cp2": clientFiles, "cp3": clientFiles,
	} {
		for _, name := range files {
			f, err := w.Machine(host).ReadFile(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			block, _ := pem.Decode(f.Data)
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			out[host+" "+name] = c.SerialNumber.String()
		}
	}
	return out
}

var (
	memberFiles = []string{"/etc/etcd/pki/server.crt", "/etc/etcd/pki/peer.crt"}
	clientFiles = []string{"/etc/kubernetes/pki/apiserver-etcd-client.crt"}
)

// TestRenewal: what is not due stays; what is due is new afterwards, on every
// host; no client notices; a second run of the same renewal does nothing, a
// renewal of its own renews again; and the way back brings the files of before
// back.
func TestRenewal(t *testing.T) {
	t.Parallel()
	start := migrated(t)
	operate(t, start, func(t *testing.T, w *simulator.World, o *conformance.Operator) {
		begin, out, state := serials(t, w), w.Outages(), w.State()
		if err := o.RunPhase(t.Context(), certs.Phase(renewing("early", 30))); err != nil {
			t.Fatal(err)
		}
		if ops := w.Faults.Ops(); len(ops) > 0 {
			t.Errorf("nothing was due, and it has changed something: %q", ops)
		}
		options := renewing("first", 400)
		if err := o.RunPhase(t.Context(), certs.Phase(options)); err != nil {
			t.Fatalf("%v; never may be: %q", err, w.Broken())
		}
		first := serials(t, w)
		for name, serial := range first {
			if serial == begin[name] {
				t.Errorf("%s is not new", name)
			}
		}
		ops := len(w.Faults.Ops())
		if err := o.RunPhase(t.Context(), certs.Phase(options)); err != nil || len(w.Faults.Ops()) != ops {
			t.Errorf("run again: %v, %q", err, w.Faults.Ops()[ops:])
		}
		if err := o.RunPhase(t.Context(), certs.Phase(renewing("second", 400))); err != nil {
			t.Fatal(err)
		}
		for name, serial := range serials(t, w) {
			if serial == first[name] {
				t.Errorf("%s is not new the second time", name)
			}
		}
		r := migrate.Runner[phases.Reader, phases.Writer]{Env: o.Env, Journal: o.Journal, Spec: w.Spec.Fingerprint}
		if err := r.Rollback(t.Context(), certs.Phase(renewing("second", 400))); err != nil {
			t.Fatal(err)
		}
		if now := serials(t, w); !maps.Equal(now, first) {
			t.Errorf("undone, it is not what it was before:\n%s", cmp.Diff(first, now))
		}
		if now := w.Outages(); !maps.Equal(now, out) {
			t.Errorf("clients noticed: %v, before %v", now, out)
		}
		if broken := w.Broken(); len(broken) > 0 {
			t.Errorf("never may be: %q", broken)
		}
		w.Pass(time.Minute)
		end := w.State()
		maps.DeleteFunc(end, func(name, _ string) bool {
			if _, there := state[name]; !there && (strings.HasSuffix(name, " /var/lib/migrate/") || strings.HasSuffix(name, " /var/lib/migrate/backup/")) {
				return true // the folders of the copies
			}
			return strings.Contains(name, " /var/lib/migrate/backup/certs-") || strings.Contains(name, "/trail/8.")
		})
		if !maps.Equal(state, end) {
			t.Errorf("something else has changed:\n%s", cmp.Diff(state, end))
		}
	})
}

// TestRenewalIsRefused: before phase 2, without the CA's key, and with a CA
// that ends itself there is nothing to renew with.
func TestRenewalIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		env := w.Connect()
		defer env.Close()
		if err := certs.CheckEtcd(t.Context(), env.Reader(migrate.ClusterTarget)); err == nil || !strings.Contains(err.Error(), "kubeadm renews all certificates") {
			t.Errorf("before phase 2: %v", err)
		}
	})
	start := migrated(t)
	operate(t, start, func(t *testing.T, w *simulator.World, o *conformance.Operator) {
		if err := certs.CheckEtcd(t.Context(), o.Env.Reader(migrate.ClusterTarget)); err != nil {
			t.Error(err)
		}
		if err := w.Root("cp1", "rm /etc/kubernetes/pki/etcd/ca.key"); err != nil {
			t.Fatal(err)
		}
		err := o.RunPhase(t.Context(), certs.Phase(renewing("no-key", 400)))
		if err == nil || !strings.Contains(err.Error(), "cp1 has no /etc/kubernetes/pki/etcd/ca.key to sign with") {
			t.Errorf("without the key: %v", err)
		}
		if ops := w.Faults.Ops(); len(ops) > 0 {
			t.Errorf("it has changed something: %q", ops)
		}
	})
}

// TestRenewalKilledAtAnyInstantThenRunAgain wants the end of an uninterrupted
// renewal, and no key left where it does not belong.
func TestRenewalKilledAtAnyInstantThenRunAgain(t *testing.T) {
	start := migrated(t)
	var deaths []conformance.Death
	var end map[string]string
	var options certs.Options
	synctest.Test(t, func(t *testing.T) {
		w := start.World(t)
		defer w.Close()
		options = renewing("killed", 400)
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer o.Close()
		w.Watch = func(p simulator.Point) {
			d := conformance.Death{Point: p, Journal: o.JournalFile(), At: time.Now()}
			if n := len(deaths); n == 0 || !deaths[n-1].Like(d) {
				deaths = append(deaths, d)
			}
		}
		if err := o.RunPhase(t.Context(), certs.Phase(options)); err != nil {
			t.Fatal(err)
		}
		w.Watch = nil
		w.Pass(time.Minute)
		end = w.State()
	})
	for name := range end {
		if strings.Contains(name, "/sign-") || strings.HasSuffix(name, ".migrate") {
			t.Errorf("%s is left", name)
		}
	}
	for i, d := range deaths {
		if !conformance.Share(i, 4) {
			continue
		}
		t.Run(fmt.Sprintf("%03d %s", i, conformance.Label(d.Op, d.When)), func(t *testing.T) {
			d.Again(t, func(t *testing.T, w *simulator.World, o *conformance.Operator) {
				if err := o.RunPhase(t.Context(), certs.Phase(options)); err != nil {
					t.Fatalf("%v; never may be: %q", err, w.Broken())
				}
				w.Pass(time.Minute)
				if now := w.State(); !maps.Equal(end, now) {
					t.Errorf("the end is another one:\n%s", cmp.Diff(end, now))
				}
			})
		})
	}
	t.Logf("killed at %d instants", len(deaths))
}

// TestLawsOfTheRenewal holds both steps to what the engine relies on.
func TestLawsOfTheRenewal(t *testing.T) {
	t.Parallel()
	start := migrated(t)
	synctest.Test(t, func(t *testing.T) {
		w := start.World(t)
		defer w.Close()
		env := w.Connect()
		defer env.Close()
		p := certs.Phase(renewing("laws", 400))
		if err := migrate.Validate(p); err != nil {
			t.Fatal(err)
		}
		changed := 0
		for _, s := range p.Steps {
			targets, err := env.Targets(t.Context(), s.On)
			if err != nil {
				t.Fatal(err)
			}
			for _, target := range targets {
				l := conformance.Law{T: t, World: w, Env: env, Step: s, Target: target}
				if _, did := l.Hold(); did {
					changed++
				}
			}
		}
		if changed != 6 {
			t.Errorf("%d changes, want one on each of 3 etcd hosts and 3 API servers", changed)
		}
	})
}

// TestInventory: which there are, who renews each before and after phase 2,
// and that a host that is away is told.
func TestInventory(t *testing.T) {
	t.Parallel()
	who := func(t *testing.T, w *simulator.World) map[string]certs.Renewer {
		t.Helper()
		env := w.Connect()
		defer env.Close()
		list, err := certs.Read(t.Context(), env)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range list.Unread {
			t.Errorf("%s was not read: %s", u.Host, u.Why)
		}
		if !slices.IsSortedFunc(list.Certificates, func(a, b certs.Certificate) int { return a.Ends.Compare(b.Ends) }) {
			t.Error("those that end first do not come first")
		}
		out := map[string]certs.Renewer{}
		for _, c := range list.Certificates {
			if c.How == "" || c.Subject == "" || c.Ends.IsZero() {
				t.Errorf("%+v", c)
			}
			out[c.Host+" "+c.File] = c.RenewedBy
		}
		return out
	}
	want := func(t *testing.T, have map[string]certs.Renewer, want map[string]certs.Renewer) {
		t.Helper()
		for name, by := range want {
			if have[name] != by {
				t.Errorf("%s is renewed by %q, want %q", name, have[name], by)
			}
		}
	}
	const pki = "/etc/kubernetes/pki/"
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		want(t, who(t, w), map[string]certs.Renewer{
			"cp1 " + pki + "apiserver.crt": certs.Kubeadm, "cp1 " + pki + "apiserver-etcd-client.crt": certs.Kubeadm,
			"cp1 " + pki + "etcd/server.crt": certs.Kubeadm, "cp1 " + pki + "ca.crt": certs.Nobody, "w1 " + pki + "ca.crt": certs.Nobody,
		})
	})
	start := migrated(t)
	synctest.Test(t, func(t *testing.T) {
		w := start.World(t)
		defer w.Close()
		want(t, who(t, w), map[string]certs.Renewer{
			"cp1 " + pki + "apiserver.crt": certs.Kubeadm, "cp1 " + pki + "apiserver-etcd-client.crt": certs.Nobody, "cp3 " + pki + "apiserver-etcd-client.crt": certs.Nobody,
			"cp1 " + pki + "etcd/server.crt": certs.Unused, "e1 /etc/etcd/pki/server.crt": certs.Nobody, "e3 /etc/etcd/pki/peer.crt": certs.Nobody,
		})
		const current = "/var/lib/kubelet/pki/kubelet-client-current.pem"
		for setting, by := range map[string]certs.Renewer{"kind: KubeletConfiguration": certs.Nobody, "rotateCertificates: false": certs.Nobody, "rotateCertificates: true": certs.Kubelet} {
			if err := w.Root("cp2", "mkdir -p /var/lib/kubelet/pki; cp "+pki+"apiserver-kubelet-client.crt "+current+"; echo '"+setting+"' >/var/lib/kubelet/config.yaml"); err != nil {
				t.Fatal(err)
			}
			want(t, who(t, w), map[string]certs.Renewer{"cp2 " + current: by})
		}
		if err := w.Root("e1", "echo nothing >/etc/etcd/pki/other.crt"); err != nil {
			t.Fatal(err)
		}
		w.Spec.Etcd.Hosts = slices.Clone(w.Spec.Etcd.Hosts)
		w.Spec.Etcd.Hosts[2].Address = "10.88.0.77"
		env := w.Connect()
		defer env.Close()
		list, err := certs.Read(t.Context(), env)
		if err != nil || len(list.Unread) != 2 || list.Unread[0].Host != "e1" || list.Unread[1].Host != "e3" {
			t.Errorf("e3 is away, and e1 has a file without a certificate: %+v, %v", list.Unread, err)
		} else if list.Unread[0].Why != "no certificate could be read in /etc/etcd/pki/other.crt" {
			t.Errorf("e1: %s", list.Unread[0].Why)
		}
		if soon := list.Within(30*24*time.Hour, time.Now()); len(soon) != 0 {
			t.Errorf("within 30 days: %+v", soon)
		}
		if soon := list.Within(400*24*time.Hour, time.Now()); len(soon) == 0 || slices.ContainsFunc(soon, func(c certs.Certificate) bool { return c.CA || c.RenewedBy == certs.Unused }) {
			t.Errorf("within 400 days: %+v", soon)
		}
	})
}
