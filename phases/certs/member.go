package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"
	"slices"
	"strconv"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
	"hamigrate/phases/etcd"
)

// MemberID is the journal's key of the members' step.
const MemberID = "certs/member"

// member renews what a member shows to its clients and to the other members.
func (o Options) member() phases.Step {
	return phases.Step{
		ID:      MemberID,
		Title:   "Renew the member's certificates",
		Why:     "An expired one ends every connection that is made again, to its clients and between the members, and with the second member that is so the quorum.",
		On:      migrate.EtcdHosts,
		Rolling: true,
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			pairs, err := memberPairs(ctx, v)
			if err != nil {
				return migrate.Finding{}, err
			}
			return o.check(ctx, v, MemberID, pairs)
		},
		Apply:  o.applyMember,
		Verify: o.verifyMember,
		Undo: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			pairs, err := memberPairs(ctx, h.Reader)
			if err != nil {
				return err
			}
			return o.putBack(ctx, h.On(h.Target()), MemberID, pairs)
		},
		Settle: 30 * time.Second, WaitsFor: "etcd",
	}
}

// kinds are a member's certificates; the third one is for those who look
// after its health by hand, and on hosts that have one only.
func kinds(ctx context.Context, v phases.Reader) ([]string, error) {
	out := []string{"server", "peer"}
	names, err := v.On(v.Target()).List(ctx, etcd.Of(v.Spec()).Files().PKI)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if slices.Contains(names, "healthcheck-client.crt") {
		out = append(out, "healthcheck-client")
	}
	return out, nil
}

func memberPairs(ctx context.Context, v phases.Reader) ([]pair, error) {
	list, err := kinds(ctx, v)
	dir := etcd.Of(v.Spec()).Files().PKI
	var out []pair
	for _, kind := range list {
		out = append(out, pair{path.Join(dir, kind+".crt"), path.Join(dir, kind+".key")})
	}
	return out, err
}

func (o Options) applyMember(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	host := h.On(h.Target())
	list, err := kinds(ctx, h.Reader)
	if err != nil {
		return err
	}
	pairs, err := memberPairs(ctx, h.Reader)
	if err != nil {
		return err
	}
	l, err := o.keep(ctx, host, MemberID, pairs)
	if err != nil {
		return err
	}
	// Whoever has put a name into one of them has clients that come by it.
	names := map[string][]string{}
	for i, kind := range list {
		names[kind] = kube.Names(l.before[i])
	}
	files, err := etcd.Of(h.Spec()).Sign(ctx, h, names, list...)
	if err != nil {
		return err
	}
	return install(ctx, host, pairs, l.before, files)
}

// verifyMember looks at the wire: both listeners show what the files hold, and
// that is new and of the CA that all members trust.
func (o Options) verifyMember(ctx context.Context, v phases.Reader) error {
	pairs, err := memberPairs(ctx, v)
	if err != nil {
		return err
	}
	l, err := o.lookAt(ctx, v.On(v.Target()), MemberID, pairs)
	if err != nil {
		return err
	}
	if err := l.better(v.Target()); err != nil {
		return err
	}
	return MemberShows(ctx, v)
}

// MemberShows wants the member on the target to show, to its clients and to
// other members, the certificates in its files, of etcd's CA, for its address
// and valid now.
func MemberShows(ctx context.Context, v phases.Reader) error {
	roots, err := etcdRoots(ctx, v)
	if err != nil {
		return err
	}
	return parallel.Each([]string{"server", "peer"}, func(i int, kind string) error {
		file := path.Join(etcd.Of(v.Spec()).Files().PKI, kind+".crt")
		want, err := readCertificate(ctx, v.On(v.Target()), file)
		if err != nil {
			return err
		}
		port := []int{etcdflags.EtcdClientPort, etcdflags.EtcdPeerPort}[i]
		cert, err := shown(ctx, v.On(v.Target()).DialContext, net.JoinHostPort(v.Self().Address, strconv.Itoa(port)), roots)
		if err != nil {
			return err
		}
		if want == nil || !cert.Equal(want) {
			return fmt.Errorf("the member on %s shows another certificate at port %d than %s holds", v.Target(), port, file)
		}
		return nil
	})
}

// Ends is a certificate's file and when it ends.
type Ends struct {
	File string
	At   time.Time
}

// MemberEnds says when the certificates that MemberShows looks at end, the one
// that ends first at the beginning.
func MemberEnds(ctx context.Context, v phases.Reader) ([]Ends, error) {
	var out []Ends
	for _, kind := range []string{"server", "peer"} {
		file := path.Join(etcd.Of(v.Spec()).Files().PKI, kind+".crt")
		c, err := readCertificate(ctx, v.On(v.Target()), file)
		if err != nil {
			return nil, err
		}
		if c == nil {
			return nil, fmt.Errorf("there is no certificate in %s on %s", file, v.Target())
		}
		out = append(out, Ends{file, c.NotAfter})
	}
	slices.SortStableFunc(out, func(a, b Ends) int { return a.At.Compare(b.At) })
	return out, nil
}

// better wants every certificate to be a new one that ends no earlier than the
// one before it: two of one second end together.
func (l look) better(host string) error {
	if !l.renewed() {
		return fmt.Errorf("on %s not all certificates are new", host)
	}
	for i, c := range l.now {
		if c.NotAfter.Before(l.before[i].NotAfter) {
			return fmt.Errorf("on %s the new certificate of %s ends earlier than the one before it", host, c.Subject)
		}
	}
	return nil
}

// etcdRoots is etcd's CA, as the API servers know it.
func etcdRoots(ctx context.Context, v phases.Reader) (*x509.CertPool, error) {
	files, err := v.EtcdFiles(ctx)
	if err != nil {
		return nil, err
	}
	f, err := v.On(v.First().Name).ReadFile(ctx, files.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading etcd's CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(f.Data) {
		return nil, fmt.Errorf("on %s, %s holds no certificate", v.First().Name, files.CAFile)
	}
	return roots, nil
}
