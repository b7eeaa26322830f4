package membership

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcd"
	"hamigrate/migrate/etcdflags"
	"hamigrate/phases"
)

// PeerURL is the peer URL that a member on h has.
func PeerURL(h cluster.Host) string {
	return "https://" + net.JoinHostPort(h.Address, strconv.Itoa(etcdflags.EtcdPeerPort))
}

// ClientURL is where a member on h answers clients.
func ClientURL(h cluster.Host) string {
	return "https://" + net.JoinHostPort(h.Address, strconv.Itoa(etcdflags.EtcdClientPort))
}

// MemberOn finds the member on h by its peer URL: a member that has not
// started yet has no name.
func MemberOn(members []etcd.Member, h cluster.Host) (etcd.Member, bool) {
	i := slices.IndexFunc(members, func(m etcd.Member) bool { return slices.Contains(m.PeerURLs, PeerURL(h)) })
	if i < 0 {
		return etcd.Member{}, false
	}
	return members[i], true
}

// OldMember finds the member of the first control-plane node: the one that is
// on none of the etcd hosts. Its stored peer URL may hold anything (localhost,
// a host name, another interface's address), and before phase 2 there is one.
func OldMember(members []etcd.Member, v phases.Reader) (etcd.Member, bool) {
	i := slices.IndexFunc(members, func(m etcd.Member) bool {
		return !slices.ContainsFunc(v.Spec().EtcdMembers(), func(h cluster.Host) bool { return slices.Contains(m.PeerURLs, PeerURL(h)) })
	})
	if i < 0 {
		return etcd.Member{}, false
	}
	return members[i], true
}

// List returns the members with the reader that listed them.
func List(ctx context.Context, v phases.Reader) ([]etcd.Member, *etcd.Reader, error) {
	e, err := v.Etcd(ctx)
	if err != nil {
		return nil, nil, err
	}
	members, err := e.Members(ctx)
	return members, e, err
}

// Voter names a host whose member is a voter, through which the
// membership can be changed: learners refuse. It prefers the leader's, which
// saves a hop and is the one that MoveLeader must be asked of.
func Voter(ctx context.Context, e *etcd.Reader) (string, etcd.Status, error) {
	var host string
	var found etcd.Status
	var errs []error
	for _, a := range e.Statuses(ctx) {
		switch s := a.Status; {
		case a.Err != nil:
			errs = append(errs, a.Err)
		case s.Learner || s.Leader == 0:
		case s.Leader == s.MemberID:
			return a.Host, s, nil
		case host == "":
			host, found = a.Host, s
		}
	}
	if host == "" {
		return "", etcd.Status{}, errors.Join(append(errs, errors.New("finding an etcd voter that knows the leader: there is none"))...)
	}
	return host, found, nil
}

// SameHistory compares the hashes of all voters at one revision: members
// whose IDs agree may still hold different data, because IDs are derived from
// URLs and token. A learner tells nobody its hash.
func SameHistory(ctx context.Context, e *etcd.Reader) error {
	var revision int64
	var hosts []string
	for _, a := range e.Statuses(ctx) {
		if a.Err != nil {
			return a.Err
		}
		if a.Status.Learner {
			continue
		}
		if len(hosts) == 0 || a.Status.Revision < revision {
			revision = a.Status.Revision
		}
		hosts = append(hosts, a.Host)
	}
	type answer struct {
		hash      uint32
		compacted int64
	}
	var first answer
	for i, host := range hosts {
		hash, compacted, err := e.HashKV(ctx, host, revision)
		if err != nil {
			return err
		}
		got := answer{hash, compacted}
		if i == 0 {
			first = got
		}
		if got.compacted != first.compacted {
			return fmt.Errorf("comparing members at revision %d: %w", revision, ErrCompacted)
		}
		if got != first {
			return fmt.Errorf("comparing members at revision %d: %s has hash %08x, %s has %08x: they hold different data, nothing must depend on the new ones",
				revision, hosts[0], first.hash, host, hash)
		}
	}
	return nil
}

// ErrCompacted says that hashes could not be compared: they compare only at one
// compacted revision.
var ErrCompacted = errors.New("the API server compacted etcd in between, which happens every five minutes: run again")

// Describe lists members for a sentence.
func Describe(members []etcd.Member) string {
	var out []string
	for _, m := range members {
		kind := "voter"
		if m.Learner {
			kind = "learner"
		}
		name := m.Name
		if name == "" {
			name = "not started"
		}
		out = append(out, fmt.Sprintf("%s (%s, %s)", m.PeerHost(), name, kind))
	}
	return strings.Join(out, ", ")
}

// Lines turns a description into one member a line, for diffs.
func Lines(s string) string { return strings.ReplaceAll(s, "), ", ")\n") + "\n" }

// InitialCluster lists the members as etcd wants them: byte for byte what is
// stored, this one under its own name, since it has none before its first
// start ("member count is unequal", "unmatched member while checking
// PeerURLs" are the answers to anything else).
func InitialCluster(members []etcd.Member, self cluster.Host, name string) (string, error) {
	if _, ok := MemberOn(members, self); !ok {
		return "", fmt.Errorf("%s is not in the member list", self.Name)
	}
	var parts []string
	for _, m := range members {
		called := m.Name
		if m.PeerHost() == self.Address {
			called = name
		}
		if called == "" {
			return "", fmt.Errorf("another member has not started yet: %s", Describe(members))
		}
		for _, u := range m.PeerURLs {
			parts = append(parts, called+"="+u)
		}
	}
	return strings.Join(parts, ","), nil
}

// HostOf finds an etcd host by its name.
func HostOf(v phases.Reader, name string) cluster.Host {
	i := slices.IndexFunc(v.Spec().EtcdMembers(), func(h cluster.Host) bool { return h.Name == name })
	if i < 0 {
		return cluster.Host{Name: name}
	}
	return v.Spec().EtcdMembers()[i]
}

// OnEtcdHost says whether the address of a peer URL is that of a host with a
// member.
func OnEtcdHost(peerHost string, v phases.Reader) bool {
	for _, h := range v.Spec().EtcdMembers() {
		if h.Address == peerHost {
			return true
		}
	}
	return false
}
