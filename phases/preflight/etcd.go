package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcdflags"

	"k8s.io/apimachinery/pkg/util/version"
)

func etcdAlarms(ctx context.Context, s Scene) ([]Finding, error) {
	e, err := s.Etcd(ctx)
	if err != nil {
		return nil, err
	}
	alarms, err := e.Alarms(ctx)
	if err != nil {
		return nil, err
	}
	if len(alarms) > 0 {
		return []Finding{block("", "etcd has raised %s", strings.Join(alarms, ", "))}, nil
	}
	return []Finding{fine("no alarm is raised")}, nil
}

// bug is one of etcd that touches a change of members.
type bug struct {
	from, before string // versions
	severity     Severity
	what         string
}

// bugs are those known, the gravest first. The newest patches of 3.5 and 3.6
// have none of them.
var bugs = []bug{
	{"0.0.0", "3.5.0", Blocking, "is older than 3.5, the oldest that this tool knows"},
	{"3.5.1", "3.5.20", Blocking, "does not keep the promotion of a learner in its database: it may be a learner again after the upgrade to 3.6 (etcd-io/etcd#19557)"},
	{"3.6.0", "3.6.4", Blocking, "may not start again after a learner was promoted (etcd-io/etcd#20340)"},
	{"3.5.20", "3.5.24", Warning, "hands on memberships that an older patch stored wrongly (etcd-io/etcd#20793)"},
	{"3.5.24", "3.5.26", Warning, "may bring removed members back with the upgrade to 3.6 (etcd-io/etcd#20967)"},
	{"3.5.26", "3.5.31", Warning, memberUpdate},
	{"3.6.4", "3.6.12", Warning, memberUpdate},
}

const memberUpdate = "makes a voter of a learner whose peer URLs are updated (etcd-io/etcd#21694): this tool never does that; run no `etcdctl member update` yourself during phase 2"

// knownBug is the gravest of a version.
func knownBug(text string) (bug, bool, error) {
	v, err := version.ParseGeneric(text)
	if err != nil {
		return bug{}, false, fmt.Errorf("reading etcd's version: %w", err)
	}
	i := slices.IndexFunc(bugs, func(b bug) bool {
		return v.AtLeast(version.MustParseGeneric(b.from)) && v.LessThan(version.MustParseGeneric(b.before))
	})
	if i < 0 {
		return bug{}, false, nil
	}
	return bugs[i], true, nil
}

func etcdVersion(ctx context.Context, s Scene) ([]Finding, error) {
	e, err := s.Etcd(ctx)
	if err != nil {
		return nil, err
	}
	var out []Finding
	seen := map[string]bool{}
	for _, a := range e.Statuses(ctx) {
		if a.Err != nil {
			return nil, a.Err
		}
		if seen[a.Status.Version] {
			continue
		}
		seen[a.Status.Version] = true
		b, known, err := knownBug(a.Status.Version)
		switch {
		case err != nil:
			return nil, err
		case known:
			out = append(out, Finding{Severity: b.severity, Seen: fmt.Sprintf("etcd %s %s", a.Status.Version, b.what)}.on(a.Host))
		default:
			out = append(out, fine("etcd %s", a.Status.Version).on(a.Host))
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no member answers")
	}
	return out, nil
}

// defaultQuota is etcd's where no flag sets it (server/storage: 2 GiB).
const defaultQuota = 2 << 30

// The shares of the quota, in percent.
const (
	sizeWarns  = 60
	sizeBlocks = 90
)

func etcdSize(ctx context.Context, s Scene) ([]Finding, error) {
	e, err := s.Etcd(ctx)
	if err != nil {
		return nil, err
	}
	old, running, err := s.OldEtcd(ctx)
	if err != nil {
		return nil, err
	}
	quota := int64(defaultQuota)
	if text, ok := old.Flags.Get("quota-backend-bytes"); running && ok {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
			quota = n
		}
	}
	var size int64
	for _, a := range e.Statuses(ctx) {
		if a.Err != nil {
			return nil, a.Err
		}
		size = max(size, a.Status.DBSize)
	}
	seen := fmt.Sprintf("the database has %d MiB of %d", size>>20, quota>>20)
	switch share := size * 100 / quota; {
	case share >= sizeBlocks:
		return []Finding{block("", "%s", seen)}, nil
	case share >= sizeWarns:
		return []Finding{warn("", "%s", seen)}, nil
	}
	return []Finding{fine("%s", seen)}, nil
}

// etcdHost looks at a host that is to run a member, or runs one.
func etcdHost(ctx context.Context, s Scene) ([]Finding, error) {
	f := s.Facts()
	var out []Finding
	if one := s.Of(s.First().Name); one != nil && one.Arch != f.Arch && s.Spec().Etcd.Binary == cluster.BinaryFromControlPlane {
		out = append(out, block("take a host of the same architecture, or name a program for it in spec.etcd.binary",
			"it is %s, and %s, whose etcd it would get, is %s", f.Arch, one.host, one.Arch))
	}
	member, err := isMember(ctx, s)
	if err != nil {
		return nil, err
	}
	if !member {
		taken, err := memberPorts(ctx, s)
		if err != nil {
			return nil, err
		}
		out = append(out, taken...)
	}
	if len(out) == 0 {
		out = append(out, fine("it is %s, and ports %d and %d are %s", f.Arch, etcdflags.EtcdClientPort, etcdflags.EtcdPeerPort,
			map[bool]string{true: "its member's", false: "free"}[member]))
	}
	return out, nil
}

// isMember says whether a peer URL of the member list is on the host.
func isMember(ctx context.Context, s Scene) (bool, error) {
	e, err := s.Etcd(ctx)
	if err != nil {
		return false, err
	}
	members, err := e.Members(ctx)
	for _, m := range members {
		if m.PeerHost() == s.Self().Address {
			return true, nil
		}
	}
	return false, err
}
