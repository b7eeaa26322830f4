package etcd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

const binaryID = "etcd/binary"

// binary puts etcd on the etcd hosts: by default the very program that runs,
// copied out of its container. Members of one cluster must be of one minor
// version, and a newer one would change the data so that the old one could
// not read it any more.
func binary() phases.Step {
	return phases.Step{
		ID:     binaryID,
		Title:  "Install the etcd that runs on the first control-plane node",
		Why:    "The same bytes can't be the wrong version, and nothing has to be downloaded.",
		On:     migrate.EtcdHosts,
		ByHand: "```\n# on {{.First.Name}}: the program of the running container\nscp /proc/$(pgrep -x etcd)/root/usr/local/bin/etcd /proc/$(pgrep -x etcd)/root/usr/local/bin/etcdctl root@{{.Address}}:/usr/local/bin/\n```\n",
		Check:  checkBinary,
		Apply:  applyBinary,
		Verify: verifyBinary,
		OneWay: phases.NotYet,
		Settle: 20 * time.Second,
	}
}

// digest returns the SHA-256 of a file on a host, "" when it is not there.
func digest(ctx context.Context, r remote.Reader, file string) (string, error) {
	out, err := r.Look(ctx, remote.Command{Script: "[ ! -e " + remote.Quote(file) + " ] || sha256sum < " + remote.Quote(file)})
	if err != nil {
		return "", fmt.Errorf("reading the checksum of %s on %s: %w", file, r.Name(), err)
	}
	sum, _, _ := strings.Cut(strings.TrimSpace(out), " ")
	return sum, nil
}

// source says where etcd comes from and its checksum; "" means that what the
// host has is taken.
func source(ctx context.Context, v phases.View) (file, sum string, err error) {
	switch from := v.Spec().Etcd.Binary; from {
	case cluster.BinaryPreinstalled:
		return "", "", nil
	case cluster.BinaryFromControlPlane:
		old, running, err := v.OldEtcd(ctx)
		if err != nil || !running {
			return "", "", err
		}
		// /proc/PID/exe names a path inside the container.
		file = path.Join(fmt.Sprintf("/proc/%d/root", old.PID), old.Exe)
		sum, err = digest(ctx, v.On(v.First().Name), file)
		return file, sum, err
	default:
		data, err := os.ReadFile(from)
		if err != nil {
			return "", "", fmt.Errorf("reading spec.etcd.binary: %w", err)
		}
		s := sha256.Sum256(data)
		return from, hex.EncodeToString(s[:]), nil
	}
}

func checkBinary(ctx context.Context, v phases.View) (migrate.Finding, error) {
	have, err := digest(ctx, v.On(v.Target()), Binary)
	if err != nil {
		return migrate.Finding{}, err
	}
	_, want, err := source(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	switch {
	case want == "" && have != "":
		return phases.Done("%s is installed", Binary), nil
	case want == "":
		return phases.Block("install etcd as "+Binary+" on "+v.Target(), "%s has no %s and there is none to copy", v.Target(), Binary), nil
	case have == want:
		if missing, err := ctlMissing(ctx, v); err != nil || missing {
			return phases.Need(migrate.Before{"sha256": have}, "etcdctl is not installed"), err
		}
		return phases.Done("the same etcd is installed (sha256 %.12s)", have), nil
	}
	unit, err := v.On(v.Target()).ReadFile(ctx, unitFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return migrate.Finding{}, err
	}
	if active, err := unitActive(ctx, v); err != nil {
		return migrate.Finding{}, err
	} else if active && !strings.Contains(string(unit.Data), "(written by migrate)") {
		return phases.Block("stop it and move its data away, or name another host in spec.etcd.hosts", "%s runs an etcd of its own", v.Target()), nil
	}
	before := have
	if before == "" {
		before = "absent"
	}
	f := phases.Need(migrate.Before{"sha256": before, "backup": phases.BackupDir(binaryID)}, "etcd is not installed, or another one is")
	f.Changes = []migrate.Change{{Object: v.Target() + ":" + Binary, Before: "sha256:" + before + "\n", After: "sha256:" + want + "\n"}}
	return f, nil
}

func applyBinary(ctx context.Context, h phases.Hands, before migrate.Before) error {
	host := h.On(h.Target())
	if have, err := digest(ctx, host, Binary); err != nil {
		return err
	} else if have != "" && before["sha256"] == have {
		if err := phases.Backup(ctx, host, binaryID, Binary); err != nil {
			return err
		}
	}
	file, _, err := source(ctx, h.View)
	if err != nil {
		return err
	}
	to := remote.File{Path: Binary, Mode: 0o755, Owner: "root:root"}
	if h.Spec().Etcd.Binary != cluster.BinaryFromControlPlane {
		if to.Data, err = os.ReadFile(file); err != nil {
			return fmt.Errorf("reading spec.etcd.binary: %w", err)
		}
		return host.WriteFile(ctx, to)
	}
	first := h.On(h.First().Name)
	if err := host.Copy(ctx, first, file, to); err != nil {
		return err
	}
	ctl := path.Join(path.Dir(file), "etcdctl")
	if sum, err := digest(ctx, first, ctl); err != nil || sum == "" {
		return err
	}
	return host.Copy(ctx, first, ctl, remote.File{Path: Binary + "ctl", Mode: 0o755, Owner: "root:root"})
}

// ctlMissing: etcdctl is for whoever has to look by hand one night, and comes
// along where the old member's image has it.
func ctlMissing(ctx context.Context, v phases.View) (bool, error) {
	file, _, err := source(ctx, v)
	if err != nil || v.Spec().Etcd.Binary != cluster.BinaryFromControlPlane || file == "" {
		return false, err
	}
	want, err := digest(ctx, v.On(v.First().Name), path.Join(path.Dir(file), "etcdctl"))
	if err != nil || want == "" {
		return false, err
	}
	have, err := digest(ctx, v.On(v.Target()), Binary+"ctl")
	return have != want, err
}

// verifyBinary runs it: a wrong architecture or C library shows here.
func verifyBinary(ctx context.Context, v phases.View) error {
	f, err := checkBinary(ctx, v)
	if err != nil {
		return err
	}
	if f.Verdict != migrate.Satisfied {
		return fmt.Errorf("on %s: %s", v.Target(), f.Reason)
	}
	out, err := v.On(v.Target()).Look(ctx, remote.Cmd(Binary, "--version"))
	if err != nil {
		return fmt.Errorf("running etcd on %s: %w", v.Target(), err)
	}
	e, err := v.Etcd(ctx)
	if err != nil {
		return err
	}
	_, status, err := aVoterHost(ctx, e)
	if err != nil {
		return err
	}
	if !strings.Contains(out, "etcd Version: "+status.Version+"\n") {
		return fmt.Errorf("the etcd on %s is %q, the cluster runs %s", v.Target(), strings.SplitN(out, "\n", 2)[0], status.Version)
	}
	return nil
}
