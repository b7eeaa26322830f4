package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
)

// login has been done by now: a host that is not reached has no further
// checks.
func login(_ context.Context, s Scene) ([]Finding, error) {
	return []Finding{fine("its facts were read as root")}, nil
}

// The limits of clocks. Less than half a second is below what a measurement
// over SSH can tell for sure.
const (
	skewWarns  = 500 * time.Millisecond
	skewBlocks = time.Second
)

// clockSkew compares with the median of all: the operator's own clock may be
// the one that is wrong, and one host that is far off must not make the
// others look bad.
func clockSkew(_ context.Context, s Scene) ([]Finding, error) {
	all := s.Answered()
	if len(all) == 0 {
		return nil, nil
	}
	ahead := make([]time.Duration, len(all))
	for i, f := range all {
		ahead[i] = f.Clock.ahead
	}
	slices.Sort(ahead)
	median := ahead[len(ahead)/2]
	var out []Finding
	for _, f := range all {
		off := f.Clock.ahead - median
		surely := max(off.Abs()-f.Clock.unsure, 0)
		word := "ahead of"
		if off < 0 {
			word = "behind"
		}
		seen := fmt.Sprintf("its clock is %s (± %s) %s the median of %d hosts", off.Abs().Round(time.Millisecond), f.Clock.unsure.Round(time.Millisecond), word, len(all))
		switch {
		case surely > skewBlocks && f.role != migrate.LoadBalancers:
			out = append(out, block("", "%s", seen).on(f.host))
		case surely > skewWarns:
			out = append(out, warn("", "%s", seen).on(f.host))
		}
	}
	if len(out) == 0 {
		out = append(out, fine("the clocks of %d hosts are at most %s apart", len(all), (ahead[len(ahead)-1]-ahead[0]).Round(time.Millisecond)))
	}
	return out, nil
}

// room is what a kind of host needs of a folder, in MiB.
type room struct {
	folder        string
	warns, blocks int
}

func roomFor(role migrate.Selector) []room {
	switch role {
	case migrate.EtcdHosts:
		// The database (8 GiB at most by etcd's advice), its log, snapshots.
		return []room{{"/var/lib", 4 << 10, 1 << 10}, {"/etc", 50, 10}}
	case migrate.JoiningControlPlanes:
		return []room{{"/var/lib", 4 << 10, 2 << 10}, {"/etc", 50, 10}} // its images are 1 GiB
	case migrate.FirstControlPlane:
		return []room{{"/var/lib", 2 << 10, 300}, {"/etc", 50, 10}} // backups, the archive is a rename
	}
	return []room{{"/var/lib", 500, 100}, {"/etc", 50, 10}}
}

func diskSpace(_ context.Context, s Scene) ([]Finding, error) {
	f := s.Facts()
	var out []Finding
	for _, r := range roomFor(f.role) {
		free, known := f.Free[r.folder]
		switch mib := free >> 10; {
		case !known:
			out = append(out, warn("look with `df -h "+r.folder+"`", "df does not say how much is free on %s", r.folder))
		case mib < r.blocks:
			out = append(out, block("", "%d MiB are free on %s; it needs %d", mib, r.folder, r.blocks))
		case mib < r.warns:
			out = append(out, warn("", "%d MiB are free on %s; %d would be better", mib, r.folder, r.warns))
		}
	}
	if len(out) == 0 {
		out = append(out, fine("%d MiB are free on /var/lib, %d on /etc", f.Free["/var/lib"]>>10, f.Free["/etc"]>>10))
	}
	return out, nil
}

// Memory, in KiB. kubeadm refuses a control-plane node with less than 1700 MB
// (kubeadm: constants.ControlPlaneMem).
const (
	kubeadmMemory = 1700 * 1000 * 1000 / 1024
	etcdMemory    = 900 << 10
)

func memory(_ context.Context, s Scene) ([]Finding, error) {
	f := s.Facts()
	mib := f.Memory >> 10
	switch {
	case f.Memory == 0:
		return []Finding{warn("look with `free -m`", "it does not say how much memory it has")}, nil
	case f.role == migrate.FirstControlPlane && f.APIServer > 0 && f.MemoryLeft < f.APIServer*3/2 && !s.survey.options.InPlace:
		return []Finding{block("free memory on it, or restart the API server in place with --strategy in-place",
			"%d MiB are left, and a second API server beside the one of %d MiB needs half as much again", f.MemoryLeft>>10, f.APIServer>>10)}, nil
	case f.role == migrate.JoiningControlPlanes && f.Memory < kubeadmMemory && mayIgnore(s, "Mem"):
		return []Finding{warn("", "it has %d MiB, and kubeadm wants 1700 MB; spec.controlPlane.join.ignorePreflightErrors lets it pass", mib)}, nil
	case f.role == migrate.JoiningControlPlanes && f.Memory < kubeadmMemory:
		return []Finding{block("give it more, or write Mem into spec.controlPlane.join.ignorePreflightErrors", "it has %d MiB, and kubeadm refuses less than 1700 MB", mib)}, nil
	case f.role == migrate.EtcdHosts && f.Memory < etcdMemory:
		return []Finding{warn("", "it has %d MiB; etcd keeps its database in memory and wants 2 GB", mib)}, nil
	case f.role == migrate.FirstControlPlane:
		return []Finding{fine("%d MiB are left; its API server uses %d MiB", f.MemoryLeft>>10, f.APIServer>>10)}, nil
	}
	return []Finding{fine("it has %d MiB", mib)}, nil
}

// mayIgnore says whether the spec tells kubeadm join to ignore a check of its.
func mayIgnore(s Scene, name string) bool {
	return slices.ContainsFunc(s.Spec().ControlPlane.Join.IgnorePreflightErrors, func(have string) bool {
		return strings.EqualFold(have, name) || strings.EqualFold(have, "all")
	})
}

// machineID blocks where one of the clones is to join.
func machineID(_ context.Context, s Scene) ([]Finding, error) {
	same := map[string][]*Facts{}
	nodes := s.Answered(migrate.FirstControlPlane, migrate.JoiningControlPlanes, migrate.Workers)
	for _, f := range nodes {
		if f.MachineID != "" {
			same[f.MachineID] = append(same[f.MachineID], f)
		}
	}
	var out []Finding
	for _, list := range same {
		if len(list) < 2 {
			continue
		}
		var names []string
		joins := ""
		for _, f := range list {
			names = append(names, f.host)
			if f.role == migrate.JoiningControlPlanes {
				joins = f.host
			}
		}
		if joins != "" {
			out = append(out, block("", "%s have one machine ID", strings.Join(names, ", ")).on(joins).only(3))
		} else {
			out = append(out, warn("", "%s have one machine ID", strings.Join(names, ", ")).on(names[0]))
		}
	}
	if len(out) == 0 {
		out = append(out, fine("%d nodes have one each", len(nodes)))
	}
	return out, nil
}

func swap(_ context.Context, s Scene) ([]Finding, error) {
	if swaps := s.Facts().Swap; len(swaps) > 0 {
		return []Finding{warn("", "swap is on: %s", strings.Join(swaps, ", "))}, nil
	}
	return []Finding{fine("swap is off")}, nil
}

// inotifyNeeds is what kubelet, containerd and three static pods take; below
// inotifyFew a kubelet may still start, and the next pod not.
const (
	inotifyNeeds = 64
	inotifyFew   = 16
)

func inotify(_ context.Context, s Scene) ([]Finding, error) {
	most, used := s.Facts().Inotify[0], s.Facts().Inotify[1]
	switch left := most - used; {
	case most == 0:
		return []Finding{warn("look with `sysctl fs.inotify`", "it does not say how many inotify instances a user may have")}, nil
	case left < inotifyFew:
		return []Finding{block("", "%d of the %d inotify instances that a user may have are in use", used, most)}, nil
	case left < inotifyNeeds:
		return []Finding{warn("", "%d of the %d inotify instances that a user may have are in use", used, most)}, nil
	}
	return []Finding{fine("%d of %d inotify instances are in use", used, most)}, nil
}
