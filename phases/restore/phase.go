// Package restore is the emergency door: etcd's members on hosts of their own
// have lost their data, or their quorum for good, and are made again from a
// snapshot. All writes since the snapshot are lost; a rollback loses none, so
// this is for when there is nothing to go back with.
//
// It is a phase like the others, run by the same engine with the same
// journal, so that it can be stopped and killed anywhere. What it has come to
// is told by marks on the hosts, in a folder named after this one restore:
// halfway through, neither etcd nor the API could be asked.
//
// The order is that of etcd's manual for Kubernetes (etcd.io/docs/v3.6/
// op-guide/recovery): nothing that writes runs while the data is replaced;
// all members are made from one snapshot, with a revision that none of the
// API's clients has seen and everything before it marked as compacted; and
// what remembers older revisions is restarted.
package restore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/etcd/membership"
)

// Number is the phase's in the journal. It is none of the migration's.
const Number = 9

// Options are what a restore is made from.
type Options struct {
	// ID names this restore and no other: it is the token of the new etcd
	// cluster and the name of the folders with its marks.
	ID string
	// ClusterID is the one that etcd derives from ID and InitialCluster.
	ClusterID uint64
	// Snapshot and Program are files of the operator's machine.
	Snapshot, Program Upload
	// Revision is the snapshot's.
	Revision int64
	// FitsServer says why an etcd of a version can't read the snapshot.
	FitsServer func(version string) error
	// RunsOn says why Program does not run on a host, by its `uname -sm`.
	RunsOn func(machine string) error
}

// Upload is a file to be copied to a host.
type Upload struct {
	From   remote.Reader // a remote.Streamer, for a large one
	Path   string
	SHA256 string
}

// oneWay is why no step has a way back.
const oneWay = "there is nothing to go back to: the data was lost; what was found of it is kept on its host"

// The IDs of the steps: keys in the journal.
// Phase declares the steps in their order.
func Phase(o Options) phases.Phase {
	return phases.Phase{
		Number: Number,
		Name:   "restore",
		Title:  "Restore etcd from a snapshot",
		Why:    "Every write since the snapshot is lost.",
		Steps: []phases.Step{
			o.stopControlPlane(),
			o.stopEtcd(),
			o.setAside(),
			o.upload(),
			o.member(),
			o.startEtcd(),
			o.masterLeases(),
			o.apiServer(),
			o.controllers(),
			o.kubelets(),
			o.kubeProxy(),
			o.coreDNS(),
			o.prove(),
			o.cleanUp(),
		},
		Invariants:       o.invariants,
		InvariantsSettle: 2 * time.Minute,
	}
}

// InitialCluster lists the members as etcd wants them.
func InitialCluster(spec cluster.Spec) string {
	var parts []string
	for _, h := range spec.EtcdMembers() {
		parts = append(parts, h.Name+"="+membership.PeerURL(h))
	}
	return strings.Join(parts, ",")
}

// Fingerprint is of all that a restore under way cannot go on without: its
// members and where they are. Workers are not in it: one that is gone for good
// is taken out of the spec so that the restore can end.
func Fingerprint(spec cluster.Spec) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(InitialCluster(spec))))
}

// ErrOtherQuorum says that etcd serves, and not what this restore restored: to
// go on would lose what is written there.
var ErrOtherQuorum = errors.New("etcd serves again, and not from this restore")

// invariants wants every host of the restore to be there, and no quorum but the
// restore's own: the look before the first step is old when the last members
// are stopped, and somebody else may have restored them meanwhile. Nothing else
// can be wanted of etcd and the API until the end.
func (o Options) invariants(ctx context.Context, v phases.Reader) error {
	hosts, err := v.Access().Targets(ctx, migrate.ControlPlanes)
	if err != nil {
		return err
	}
	for _, h := range v.Spec().EtcdMembers() {
		hosts = append(hosts, h.Name)
	}
	if err := parallel.Each(hosts, func(_ int, host string) error {
		if _, err := v.On(host).Look(ctx, remote.Cmd("true")); err != nil {
			return fmt.Errorf("checking %s: %w", host, err)
		}
		return nil
	}); err != nil {
		return err
	}
	refused, err := o.quorumRefuses(ctx, v)
	if err != nil {
		return fmt.Errorf("looking for a quorum of etcd's members: %w", err)
	}
	if refused != "" {
		return fmt.Errorf("%w: %s", ErrOtherQuorum, refused)
	}
	return nil
}

// dir is this restore's folder on a host, for root alone.
func (o Options) dir() string { return path.Join(hostfiles.StateDir, "restore", o.ID) }

func (o Options) mark(name string) string { return path.Join(o.dir(), name) }

// setMark is a script that makes this restore's folder and a mark in it.
func (o Options) setMark(name string) string {
	return fmt.Sprintf("install -d -m 0700 %s %s/restore %s\n: >%s\nsync %[4]s\n", hostfiles.StateDir, hostfiles.StateDir, o.dir(), o.mark(name))
}

// marked says whether a host has a mark.
func (o Options) marked(ctx context.Context, v phases.Reader, host, name string) (bool, error) {
	return exists(ctx, v.On(host), o.mark(name))
}

func exists(ctx context.Context, r remote.Reader, file string) (bool, error) {
	out, err := r.Look(ctx, remote.Command{Script: "[ ! -e " + remote.Quote(file) + " ] || echo yes"})
	if err != nil {
		return false, fmt.Errorf("looking for %s on %s: %w", file, r.Name(), err)
	}
	return strings.TrimSpace(out) == "yes", nil
}

// onMark is the check of a step whose end is a mark on its target.
func (o Options) onMark(name, done, needed string) func(context.Context, phases.Reader) (migrate.Finding, error) {
	return func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
		there, err := o.marked(ctx, v, o.host(v), name)
		if err != nil {
			return migrate.Finding{}, err
		}
		if there {
			return phases.Done("%s", done), nil
		}
		return phases.Need(migrate.Before{}, "%s", needed), nil
	}
}

// host is the target, or the first control-plane node for what is done once.
func (o Options) host(v phases.Reader) string {
	if v.Target() == migrate.ClusterTarget {
		return v.First().Name
	}
	return v.Target()
}

// verifyMark is the verification of such a step.
func (o Options) verifyMark(name string) func(context.Context, phases.Reader) error {
	return func(ctx context.Context, v phases.Reader) error {
		there, err := o.marked(ctx, v, o.host(v), name)
		if err == nil && !there {
			err = fmt.Errorf("%s is not on %s", o.mark(name), o.host(v))
		}
		return err
	}
}
