package external

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/inputfile"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/etcd/membership"
)

// binary puts etcd on the etcd hosts: by default the very program that runs,
// copied out of its container. Members of one cluster must be of one minor
// version, and a newer one would change the data so that the old one could
// not read it any more.
func binary() phases.Step {
	return phases.Step{
		ID:    binaryID,
		Title: "Install the etcd that runs on the first control-plane node",
		Why:   "The same bytes can't be the wrong version, and nothing has to be downloaded.",
		On:    migrate.EtcdHosts,
		ByHand: "```\n{{if eq .EtcdBinary `" + cluster.BinaryFromControlPlane + "`}}# on {{.First.Name}}: the program of the running container\ncd /proc/$(pgrep -x etcd)/root && scp usr/local/bin/etcd usr/local/bin/etcdctl root@{{.Address}}:/usr/local/bin/\n" +
			"{{else if eq .EtcdBinary `" + cluster.BinaryPreinstalled + "`}}/usr/local/bin/etcd --version    # it is installed already, and is of the same minor version as the old member\n" +
			"{{else}}# on your machine: the program that the spec names\nscp {{.EtcdBinary}} root@{{.Address}}:/usr/local/bin/etcd\n{{end}}```\n",
		Check:  checkBinary,
		Apply:  applyBinary,
		Verify: verifyBinary,
		Undo:   undoBinary,
		Settle: 20 * time.Second,
	}
}

// source says where etcd comes from; "" means that what the host has is taken.
func source(ctx context.Context, v phases.Reader) (string, error) {
	switch from := v.Spec().Etcd.Binary; from {
	case cluster.BinaryPreinstalled:
		return "", nil
	case cluster.BinaryFromControlPlane:
		old, running, err := v.OldEtcd(ctx)
		if err != nil || !running {
			return "", err
		}
		// /proc/PID/exe names a path inside the container.
		return path.Join(fmt.Sprintf("/proc/%d/root", old.PID), old.Exe), nil
	default:
		return from, nil
	}
}

// programs are the SHA-256 of etcd and of etcdctl, "" for none. etcdctl is for
// whoever has to look by hand one night, and comes along where the old
// member's image has it.
type programs struct{ etcd, ctl string }

// before is the pre-image: what is there now.
func (p programs) before() migrate.Before {
	return migrate.Before{"sha256": cmp.Or(p.etcd, absent), "etcdctl": cmp.Or(p.ctl, absent), "backup": hostfiles.BackupDir(binaryID)}
}

// absent is the digest of a file that is not there.
const absent = "absent"

// maxBinary bounds an etcd on the operator's machine: several times as large as one
// of etcd's releases at most.
const maxBinary = 256 << 20

func readBinary(file string) ([]byte, error) {
	data, err := inputfile.Kind{What: "program etcd", Max: maxBinary}.Read(file)
	if err != nil {
		return nil, fmt.Errorf("spec.etcd.binary: %w", err)
	}
	return data, nil
}

// wantedPrograms reads them at their source.
func wantedPrograms(ctx context.Context, v phases.Reader) (programs, error) {
	file, err := source(ctx, v)
	if err != nil || file == "" {
		return programs{}, err
	}
	if v.Spec().Etcd.Binary == cluster.BinaryFromControlPlane {
		return programsAt(ctx, v, v.First().Name, file)
	}
	data, err := readBinary(file)
	if err != nil {
		return programs{}, err
	}
	sum := sha256.Sum256(data)
	return programs{etcd: hex.EncodeToString(sum[:])}, nil
}

// programsAt reads those of a host, where etcdctl lies beside etcd.
func programsAt(ctx context.Context, v phases.Reader, host, etcd string) (programs, error) {
	var p programs
	err := parallel.Do(
		func() (err error) { p.etcd, err = v.Digest(ctx, host, etcd); return err },
		func() (err error) { p.ctl, err = v.Digest(ctx, host, path.Join(path.Dir(etcd), "etcdctl")); return err })
	return p, err
}

func checkBinary(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	var have, want programs
	err := parallel.Do(
		func() (err error) { have, err = programsAt(ctx, v, v.Target(), Binary); return err },
		func() (err error) { want, err = wantedPrograms(ctx, v); return err })
	switch {
	case err != nil:
		return migrate.Finding{}, err
	case want.etcd == "" && have.etcd != "":
		return phases.Done("%s is installed", Binary), nil
	case want.etcd == "":
		return phases.Block("install etcd as "+Binary+" on "+v.Target(), "%s has no %s and there is none to copy", v.Target(), Binary), nil
	case have.etcd == want.etcd && want.ctl != "" && have.ctl != want.ctl:
		return phases.Need(have.before(), "etcdctl is not installed"), nil
	case have.etcd == want.etcd:
		return phases.Done("the same etcd is installed (sha256 %.12s)", have.etcd), nil
	}
	unit, err := v.On(v.Target()).ReadFile(ctx, unitFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return migrate.Finding{}, err
	}
	if active, err := unitActive(ctx, v); err != nil {
		return migrate.Finding{}, err
	} else if active && !isOurUnit(string(unit.Data)) {
		return phases.Block("stop it and move its data away, or name another host in spec.etcd.hosts", "%s runs an etcd of its own", v.Target()), nil
	}
	f := phases.Need(have.before(), "etcd is not installed, or another one is")
	f.Changes = []migrate.Change{{Object: v.Target() + ":" + Binary, Before: "sha256:" + f.Before["sha256"] + "\n", After: "sha256:" + want.etcd + "\n"}}
	return f, nil
}

func applyBinary(ctx context.Context, h phases.Writer, before migrate.Before) error {
	host := h.On(h.Target())
	have, err := programsAt(ctx, h.Reader, h.Target(), Binary)
	if err != nil {
		return err
	}
	var keep []string
	if have.etcd != "" && have.etcd == before["sha256"] {
		keep = append(keep, Binary)
	}
	if have.ctl != "" && have.ctl == before["etcdctl"] {
		keep = append(keep, Binary+"ctl")
	}
	if len(keep) > 0 {
		if err := hostfiles.Backup(ctx, host, binaryID, keep...); err != nil {
			return err
		}
	}
	file, err := source(ctx, h.Reader)
	if err != nil {
		return err
	}
	to := remote.File{Path: Binary, Mode: 0o755, Owner: "root:root"}
	if h.Spec().Etcd.Binary != cluster.BinaryFromControlPlane {
		if to.Data, err = readBinary(file); err != nil {
			return err
		}
		return host.WriteFile(ctx, to)
	}
	want, err := programsAt(ctx, h.Reader, h.First().Name, file)
	if err != nil {
		return err
	}
	if to.Data, err = h.Content(ctx, h.First().Name, file, want.etcd); err != nil {
		return err
	}
	if err := host.WriteFile(ctx, to); err != nil || want.ctl == "" {
		return err
	}
	ctl := remote.File{Path: Binary + "ctl", Mode: 0o755, Owner: "root:root"}
	if ctl.Data, err = h.Content(ctx, h.First().Name, path.Join(path.Dir(file), "etcdctl"), want.ctl); err != nil {
		return err
	}
	return host.WriteFile(ctx, ctl)
}

// verifyBinary runs it: a wrong architecture or C library shows here.
func verifyBinary(ctx context.Context, v phases.Reader) error {
	var out string
	err := parallel.Do(
		func() error {
			f, err := checkBinary(ctx, v)
			if err == nil && f.Verdict != migrate.Satisfied {
				err = fmt.Errorf("on %s: %s", v.Target(), f.Reason)
			}
			return err
		},
		func() (err error) {
			if out, err = v.On(v.Target()).Look(ctx, remote.Program(Binary, "--version")); err != nil {
				err = fmt.Errorf("running etcd on %s: %w", v.Target(), err)
			}
			return err
		})
	if err != nil {
		return err
	}
	e, err := v.Etcd(ctx)
	if err != nil {
		return err
	}
	_, status, err := membership.Voter(ctx, e)
	if err != nil {
		return err
	}
	if !strings.Contains(out, "etcd Version: "+status.Version+"\n") {
		return fmt.Errorf("the etcd on %s is %q, the cluster runs %s", v.Target(), remote.Excerpt(strings.SplitN(out, "\n", 2)[0]), status.Version)
	}
	return nil
}

// undoBinary removes etcd and etcdctl, or brings back those of before. What
// somebody has put in their place since is left.
func undoBinary(ctx context.Context, h phases.Writer, before migrate.Before) error {
	if err := notRunning(ctx, h.Reader, Binary); err != nil {
		return err
	}
	have, err := programsAt(ctx, h.Reader, h.Target(), Binary)
	if err != nil {
		return err
	}
	want, err := wantedPrograms(ctx, h.Reader)
	if err != nil {
		return err
	}
	for _, p := range []struct{ file, have, want, before string }{
		{Binary, have.etcd, want.etcd, before["sha256"]},
		{Binary + "ctl", have.ctl, want.ctl, before["etcdctl"]},
	} {
		ours := p.have != "" && p.have != p.before && (p.want == "" || p.have == p.want)
		if !ours {
			continue
		}
		if err := fileBack(ctx, h.On(h.Target()), binaryID, p.file, p.before != "" && p.before != absent); err != nil {
			return err
		}
	}
	return nil
}
