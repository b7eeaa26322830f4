package verify

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/certs"
	"hamigrate/phases/etcd"
	"hamigrate/phases/etcd/membership"
)

func etcdMembers(ctx context.Context, v phases.Reader) ([]Finding, error) {
	e, err := v.Etcd(ctx)
	if err != nil {
		return nil, err
	}
	look, err := e.Look(ctx)
	if err != nil {
		return nil, err
	}
	var wrong []string
	for _, a := range look.Alarms {
		wrong = append(wrong, "alarm "+a)
	}
	left := map[string]bool{}
	for _, m := range look.Members {
		left[m.PeerHost()] = true
	}
	voters := map[uint64]string{}
	for _, h := range v.Spec().EtcdMembers() {
		delete(left, h.Address)
		found := false
		for _, m := range look.Members {
			if !slices.Contains(m.PeerURLs, membership.PeerURL(h)) {
				continue
			}
			found = true
			switch {
			case m.Learner:
				wrong = append(wrong, fmt.Sprintf("the member on %s is a learner", h.Name))
			case !slices.Equal(m.ClientURLs, []string{membership.ClientURL(h)}):
				wrong = append(wrong, fmt.Sprintf("the member on %s tells clients to come to %v", h.Name, m.ClientURLs))
			default:
				voters[m.ID] = h.Name
			}
		}
		if !found {
			wrong = append(wrong, fmt.Sprintf("there is no member on %s", h.Name))
		}
	}
	for host := range left {
		wrong = append(wrong, fmt.Sprintf("there is a member on %s, which is no etcd host of the spec", host))
	}
	leader, cluster := "", uint64(0)
	for _, a := range look.Answers {
		s := a.Status
		switch {
		case a.Err != nil:
			wrong = append(wrong, a.Err.Error())
			continue
		case s.Leader == 0:
			wrong = append(wrong, fmt.Sprintf("the member on %s knows no leader", a.Host))
		case cluster != 0 && cluster != s.ClusterID:
			wrong = append(wrong, fmt.Sprintf("the member on %s is of cluster %x, another one than %x", a.Host, s.ClusterID, cluster))
		}
		cluster = s.ClusterID
		if s.Leader == s.MemberID {
			leader = a.Host
		}
		delete(voters, s.MemberID)
	}
	for _, host := range voters {
		wrong = append(wrong, fmt.Sprintf("the voter on %s does not answer", host))
	}
	slices.Sort(wrong)
	return passOrFail(slices.Compact(wrong), "%d voters of cluster %x, %s leads", len(look.Members), cluster, leader), nil
}

func etcdData(ctx context.Context, v phases.Reader) ([]Finding, error) {
	e, err := v.Etcd(ctx)
	if err != nil {
		return nil, err
	}
	// What is not there differs from nothing.
	answering := 0
	for _, a := range e.Statuses(ctx) {
		if a.Err == nil && !a.Status.Learner {
			answering++
		}
	}
	if all := len(v.Spec().EtcdMembers()); answering < all {
		return []Finding{not("start the others first: `systemctl status etcd` and `journalctl -u etcd` on their hosts", "%d of %d voters answer, so nothing can be said of the others' data", answering, all)}, nil
	}
	return wanted(membership.SameHistory(ctx, e), "their hashes at one revision are equal"), nil
}

func etcdService(ctx context.Context, v phases.Reader) ([]Finding, error) {
	says, ok, err := etcd.Of(v.Spec()).Serves(ctx, v)
	if err != nil {
		return nil, err
	}
	if !ok {
		return []Finding{not("", "%s", says)}, nil
	}
	return []Finding{so("%s", says)}, nil
}

// certificateAhead is how long a certificate must last: once it has expired it
// is too late to renew it without an outage, and somebody has to see this first.
const certificateAhead = 21 * 24 * time.Hour

// ending says which certificates end too soon.
func ending(list ...certs.Ends) []string {
	var wrong []string
	for _, c := range list {
		if left := time.Until(c.At); left < certificateAhead {
			wrong = append(wrong, fmt.Sprintf("%s ends on %s, in %d days", c.File, c.At.Format(time.DateOnly), int(left.Hours()/24)))
		}
	}
	return wrong
}

func etcdCertificates(ctx context.Context, v phases.Reader) ([]Finding, error) {
	if err := certs.MemberShows(ctx, v); err != nil {
		return wanted(err, ""), nil
	}
	list, err := certs.MemberEnds(ctx, v)
	if err != nil {
		return nil, err
	}
	return passOrFail(ending(list...), "both listeners show what its files hold, until %s", list[0].At.Format(time.DateOnly)), nil
}

func etcdClientCertificate(ctx context.Context, v phases.Reader) ([]Finding, error) {
	c, err := certs.CheckClientCertificate(ctx, v)
	if err != nil {
		return wanted(err, ""), nil
	}
	return passOrFail(ending(c), "%s is of etcd's CA and fits its key, until %s", c.File, c.At.Format(time.DateOnly)), nil
}

// holds says whether a file's first certificate is cert.
func holds(ctx context.Context, r remote.Reader, file string, cert *x509.Certificate) (bool, error) {
	f, err := r.ReadFile(ctx, file)
	if err != nil {
		return false, err
	}
	block, _ := pem.Decode(f.Data)
	if block == nil {
		return false, fmt.Errorf("on %s, %s holds no certificate", r.Name(), file)
	}
	there, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return false, fmt.Errorf("on %s, reading %s: %w", r.Name(), file, err)
	}
	return there.Equal(cert), nil
}
