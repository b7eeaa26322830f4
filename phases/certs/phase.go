// Package certs knows the certificates of a cluster: which there are, when
// they end and who renews them; and it renews those that nobody does.
//
// Once etcd is on hosts of its own, kubeadm renews neither the members'
// certificates nor the ones that the API servers show them
// (kubernetes/kubeadm: renewal.NewManager takes GetCertsWithoutEtcd). They end
// a year after phase 2, all at once, and the API with them. To renew is a phase
// like the others, run by the same engine with the same journal: one host
// after the other, each seen to work before the next, the files of before kept
// on their host.
//
// Nothing is restarted. etcd reads its certificate and key at every handshake,
// as server, as member and as client (etcd: client/pkg/transport,
// tlsConfig.GetCertificate and GetClientCertificate), and the API server uses
// that same code to reach etcd (apiserver: storagebackend/factory/etcd3.go).
// Connections that are open stay open: TLS looks at dates in the handshake
// alone. What etcd does not read again is its CA, so that stays.
package certs

import (
	"context"
	"crypto/x509"
	"fmt"
	"path"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// Number is the phase's in the journal. It is none of the migration's.
const Number = 8

// Options say what is renewed.
type Options struct {
	// ID names this renewal and no other: the copies of the files of before
	// are in folders named after it, and tell what it has renewed already.
	ID string
	// Began is when it began, and Within chooses what ends so soon after it.
	Began  time.Time
	Within time.Duration
}

// due says whether a certificate is to be renewed.
func (o Options) due(c *x509.Certificate) bool { return c.NotAfter.Sub(o.Began) <= o.Within }

// Phase declares the steps in their order.
func Phase(o Options) phases.Phase {
	return phases.Phase{
		Number:           Number,
		Name:             "certificates",
		Title:            "Renew the certificates that nobody else renews",
		Why:              "Nothing is restarted and no connection is cut; every new one is made with the new certificates.",
		Steps:            []phases.Step{o.member(), o.apiserverEtcdClient()},
		Invariants:       phases.CheckInvariants,
		InvariantsSettle: time.Minute,
	}
}

// CheckEtcd says why there is nothing here to renew: as long as etcd is kubeadm's,
// kubeadm renews all of them.
func CheckEtcd(ctx context.Context, v phases.Reader) error {
	k, err := v.Kube(ctx)
	if err != nil {
		return err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return err
	}
	if _, external := cc.ExternalEtcd(); !external {
		return &migrate.BlockedError{
			Where:  migrate.Where{Phase: Number},
			Reason: "etcd is kubeadm's still (kubeadm-config has no etcd.external), so kubeadm renews all certificates",
			Remedy: fmt.Sprintf("`kubeadm certs renew all` on %s, then restart its static pods one by one", v.First().Name),
		}
	}
	return nil
}

// kept names the folder of a step's copies in this renewal.
func (o Options) kept(step migrate.StepID) migrate.StepID { return step + "/" + migrate.StepID(o.ID) }

// KeptIn is that folder's path on each host.
func (o Options) KeptIn(step migrate.StepID) string { return hostfiles.BackupDir(o.kept(step)) }

// pair is a certificate and its key on a host.
type pair struct{ crt, key string }

// look is what was seen of a host's pairs.
type look struct {
	now, before []*x509.Certificate // by pair; nil where there is none
	copied      bool                // this renewal has a copy of all of them
}

// lookAt reads the certificates of some pairs and, where this renewal has
// begun on the host, those that were there before it.
func (o Options) lookAt(ctx context.Context, r remote.Reader, step migrate.StepID, pairs []pair) (look, error) {
	out := look{copied: true}
	for _, p := range pairs {
		now, err := readCertificate(ctx, r, p.crt)
		if err != nil {
			return look{}, err
		}
		before, err := readCertificate(ctx, r, path.Join(o.KeptIn(step), p.crt))
		if err != nil {
			return look{}, err
		}
		out.now, out.before = append(out.now, now), append(out.before, before)
		out.copied = out.copied && before != nil
	}
	return out, nil
}

// renewed says whether this renewal has put all pairs in place: the
// certificate is the last file of a pair to be.
func (l look) renewed() bool {
	for i, c := range l.now {
		if !l.copied || c == nil || c.Equal(l.before[i]) {
			return false
		}
	}
	return true
}

// first is the one that ends first of those that are there.
func (l look) first() *x509.Certificate {
	var out *x509.Certificate
	for _, c := range l.now {
		if c != nil && (out == nil || c.NotAfter.Before(out.NotAfter)) {
			out = c
		}
	}
	return out
}

// check is the finding of a step for the target's pairs.
func (o Options) check(ctx context.Context, v phases.Reader, step migrate.StepID, pairs []pair) (migrate.Finding, error) {
	l, err := o.lookAt(ctx, v.On(v.Target()), step, pairs)
	if err != nil {
		return migrate.Finding{}, err
	}
	if l.renewed() {
		return phases.Done("renewed, until %s", l.first().NotAfter.Format(time.DateOnly)), nil
	}
	for i, c := range l.now {
		if c == nil {
			return phases.Block("`migrate run --phase 2` makes it", "there is no certificate in %s", pairs[i].crt), nil
		}
	}
	soonest := l.first()
	if !o.due(soonest) {
		return phases.Done("good until %s, %d days from now", soonest.NotAfter.Format(time.DateOnly), daysLeft(soonest.NotAfter)), nil
	}
	if f, blocked, err := signable(ctx, v, soonest); err != nil || blocked {
		return f, err
	}
	f := phases.Need(migrate.Before{"until": soonest.NotAfter.UTC().Format(time.RFC3339)}, "%s", endsOn(soonest))
	for i, c := range l.now {
		f.Changes = append(f.Changes, migrate.Change{Object: v.Target() + ":" + pairs[i].crt,
			Before: describe(c), After: strings.Replace(describe(c), c.NotAfter.UTC().Format(time.DateOnly), "as long as kubeadm makes it", 1)})
	}
	return f, nil
}

func endsOn(c *x509.Certificate) string {
	if left := daysLeft(c.NotAfter); left >= 0 {
		return fmt.Sprintf("ends on %s, in %d days", c.NotAfter.Format(time.DateOnly), left)
	}
	return "has expired on " + c.NotAfter.Format(time.DateOnly)
}

func describe(c *x509.Certificate) string {
	return fmt.Sprintf("subject: %s\nissuer: %s\nuntil: %s\n", c.Subject, c.Issuer, c.NotAfter.UTC().Format(time.DateOnly))
}

// signable blocks where nothing better can be signed: the key is not there, or
// the CA ends before a new certificate would.
func signable(ctx context.Context, v phases.Reader, old *x509.Certificate) (migrate.Finding, bool, error) {
	files, err := v.EtcdFiles(ctx)
	if err != nil {
		return migrate.Finding{}, false, err
	}
	first := v.On(v.First().Name)
	ca, err := readCertificate(ctx, first, files.CAFile)
	if err != nil {
		return migrate.Finding{}, false, err
	}
	key := strings.TrimSuffix(files.CAFile, ".crt") + ".key"
	out, err := first.Look(ctx, remote.Command{Script: "[ ! -s " + remote.Quote(key) + " ] || echo yes"})
	if err != nil {
		return migrate.Finding{}, false, fmt.Errorf("looking for %s: %w", key, err)
	}
	switch {
	case strings.TrimSpace(out) != "yes":
		return phases.Block("put it back for the time of the renewal, or sign new ones where it is kept; docs/certificates.md says with which names",
			"%s, and %s has no %s to sign with", endsOn(old), first.Name(), key), true, nil
	case ca == nil || ca.NotAfter.Sub(old.NotAfter) < day:
		return phases.Block("replace the CA first: docs/certificates.md", "etcd's own CA %s: a new certificate would end no later", endsOnOrNone(ca)), true, nil
	}
	return migrate.Finding{}, false, nil
}

func endsOnOrNone(c *x509.Certificate) string {
	if c == nil {
		return "is not to be read"
	}
	return endsOn(c)
}
