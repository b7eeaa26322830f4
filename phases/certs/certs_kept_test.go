package certs_test

import (
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/certs"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// TestPartialRenewalIsTakenBack: all are renewed, a year later one host alone
// is, that is undone, and the next renewal works.
func TestPartialRenewalIsTakenBack(t *testing.T) {
	t.Parallel()
	start := migrated(t)
	operate(t, start, func(t *testing.T, w *simulator.World, o *conformance.Operator) {
		renew := func(id string, days int) {
			t.Helper()
			if err := o.Journal.ForgetPhase(certs.Number, "certificates", id); err != nil {
				t.Fatal(err)
			}
			if err := o.RunPhase(t.Context(), certs.Phase(renewing(id, days))); err != nil {
				t.Fatalf("%s: %v", id, err)
			}
		}
		renew("all", 400)
		for _, kind := range []string{"server", "peer"} {
			if err := w.EndIn("e2", "/etc/etcd/pki/"+kind, 20); err != nil {
				t.Fatal(err)
			}
		}
		before := serials(t, w)
		changed := func() (out []string) {
			for name, serial := range serials(t, w) {
				if serial != before[name] {
					out = append(out, name)
				}
			}
			slices.Sort(out)
			return out
		}
		renew("one", 30)
		want := []string{"e2 /etc/etcd/pki/peer.crt", "e2 /etc/etcd/pki/server.crt"}
		if got := changed(); !slices.Equal(got, want) {
			t.Errorf("new are %q, want %q", got, want)
		}
		r := migrate.Runner[phases.Reader, phases.Writer]{Env: o.Env, Journal: o.Journal, Spec: w.Spec.Fingerprint}
		if err := r.Rollback(t.Context(), certs.Phase(renewing("one", 30))); err != nil {
			t.Fatal(err)
		}
		if got := changed(); len(got) > 0 {
			t.Errorf("undone, and other ones than before are %q", got)
		}
		renew("again", 30)
		if got := changed(); !slices.Equal(got, want) {
			t.Errorf("renewed again are %q, want %q", got, want)
		}
	})
}

// TestRenewalTakesNothingAway: a name that somebody has put into a certificate
// stays, and one that lasts longer than what kubeadm signs stays in place.
func TestRenewalTakesNothingAway(t *testing.T) {
	t.Parallel()
	start := migrated(t)
	names := func(t *testing.T, w *simulator.World, host, file string) []string {
		t.Helper()
		f, err := w.Machine(host).ReadFile(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(f.Data)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return c.DNSNames
	}
	operate(t, start, func(t *testing.T, w *simulator.World, o *conformance.Operator) {
		if err := w.EndIn("e2", "/etc/etcd/pki/server", 20, "etcd.example"); err != nil {
			t.Fatal(err)
		}
		if err := o.RunPhase(t.Context(), certs.Phase(renewing("names", 30))); err != nil {
			t.Fatal(err)
		}
		if got := names(t, w, "e2", memberFiles[0]); !slices.Contains(got, "etcd.example") {
			t.Errorf("the server's certificate is for %q", got)
		}
		if got := names(t, w, "e2", memberFiles[1]); slices.Contains(got, "etcd.example") {
			t.Errorf("the peer's certificate is for %q", got)
		}
		if err := w.EndIn("e3", "/etc/etcd/pki/peer", 500); err != nil {
			t.Fatal(err)
		}
		before := serials(t, w)
		err := o.RunPhase(t.Context(), certs.Phase(renewing("long", 400)))
		if err == nil || !strings.Contains(err.Error(), "renewing on e3: the new certificate for /etc/etcd/pki/peer.crt would end on ") {
			t.Errorf("one that ends earlier: %v", err)
		}
		for name, serial := range serials(t, w) {
			if strings.HasPrefix(name, "e3 ") && serial != before[name] {
				t.Errorf("%s is another one", name)
			}
		}
	})
}
