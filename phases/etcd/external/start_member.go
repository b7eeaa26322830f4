package external

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/etcd"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/etcd/membership"
)

// startMember starts the learner and waits until it has caught up.
func startMember() phases.Step {
	return phases.Step{
		ID:      startMemberID,
		Title:   "Start the member and let it catch up",
		Why:     "It must hold all data before it gets a vote.",
		On:      migrate.EtcdHosts,
		Rolling: true,
		// Two voters survive no failure: not a place to stop.
		KeepGoing: true,
		Needs:     []migrate.StepID{addLearnerID},
		ByHand: "Write " + EnvFile + " with exactly the present members and this one, as `member add` answered; it differs from host to host:\n\n" +
			"```\nETCD_INITIAL_CLUSTER_STATE=existing\nETCD_INITIAL_CLUSTER={{.First.Name}}=https://{{.First.Address}}:2380,…,{{.Target}}=https://{{.Address}}:2380\n```\n\nThen start it, and wait until its RAFT APPLIED INDEX has reached the leader's:\n\n" +
			"```\nsystemctl enable --now etcd\n$ETCDCTL endpoint status --cluster -w table\n```\n",
		Check:  checkStartMember,
		Apply:  applyStartMember,
		Verify: verifyStartMember,
		Undo:   undoStartMember,
		// A snapshot of 8 GiB takes 70 s at 1 Gbit/s; slow disks take longer.
		Settle: 10 * time.Minute, WaitsFor: "etcd",
	}
}

// environmentMark begins the file that is ours.
const environmentMark = "# Read once, when the data folder is empty."

// environment is the content of EnvFile.
func environment(members []etcd.Member, v phases.Reader) (string, error) {
	is, err := membership.InitialCluster(members, v.Self(), v.Target())
	if err != nil {
		return "", err
	}
	return environmentOf(is), nil
}

// environmentOf is that for an initial cluster.
func environmentOf(initialCluster string) string {
	return environmentMark + " \"existing\" keeps a member that lost\n# its data from founding a cluster of its own.\nETCD_INITIAL_CLUSTER_STATE=existing\nETCD_INITIAL_CLUSTER=" + initialCluster + "\n"
}

func checkStartMember(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	active, err := unitActive(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	if !active {
		return phases.Need(migrate.Before{"etcd.service": "not running"}, "etcd does not run on %s", v.Target()), nil
	}
	members, _, err := membership.List(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	if m, ok := membership.MemberOn(members, v.Self()); ok && !m.Learner {
		return enabledVoter(ctx, v, m)
	}
	if err := verifyStartMember(ctx, v); err != nil {
		return phases.Need(migrate.Before{"etcd.service": "running"}, "etcd runs on %s, but: %v", v.Target(), err), nil
	}
	return phases.Done("etcd runs and has caught up"), nil
}

// enabledVoter: a way back that was cut after it disabled the unit, and before
// it removed the member, left a voter that would not outlive its host's restart.
func enabledVoter(ctx context.Context, v phases.Reader, m etcd.Member) (migrate.Finding, error) {
	out, err := v.On(v.Target()).Look(ctx, remote.Command{Script: "systemctl is-enabled etcd.service || true", Waits: true})
	if err != nil {
		return migrate.Finding{}, fmt.Errorf("asking systemd on %s for etcd.service: %w", v.Target(), err)
	}
	if is := strings.TrimSpace(out); is != "enabled" {
		return phases.Need(migrate.Before{"etcd.service": "running"}, "member %x is a voter, and its etcd.service is %s: it would not come back with its host", m.ID, is), nil
	}
	return phases.Done("etcd runs, and member %x is a voter", m.ID), nil
}

func applyStartMember(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	members, err := e.Members(ctx)
	if err != nil {
		return err
	}
	env, err := environment(members, h.Reader)
	if err != nil {
		return err
	}
	host := h.On(h.Target())
	have, err := host.ReadFile(ctx, EnvFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && !strings.HasPrefix(string(have.Data), environmentMark) {
		if err := hostfiles.Backup(ctx, host, startMemberID, EnvFile); err != nil {
			return err
		}
	}
	if err := host.WriteFile(ctx, remote.File{Path: EnvFile, Data: []byte(env), Mode: 0o640, Owner: "root:etcd"}); err != nil {
		return err
	}
	// --no-block: with Type=notify the start lasts until the member has
	// joined; Verify watches that with better words.
	script := "set -e; systemctl enable --quiet etcd.service; systemctl start --no-block etcd.service"
	if _, err := host.Run(ctx, remote.Command{Script: script, Waits: true}); err != nil {
		return fmt.Errorf("starting etcd on %s: %w", h.Target(), err)
	}
	return nil
}

// verifyStartMember wants the member in this cluster and its applied index
// at the leader's. etcd itself would promote at 90 % of the log index, which
// says little on a large log.
func verifyStartMember(ctx context.Context, v phases.Reader) error {
	// Until it has told systemd that it serves, it takes connections and
	// answers none of them.
	state, err := unitState(ctx, v)
	if err != nil {
		return err
	}
	if state == "failed" { // systemd calls it so only once it starts it no more
		return migrate.Hopeless(errors.Join(fmt.Errorf("etcd on %s does not start, and systemd has given it up: `journalctl -u etcd.service`", v.Target()), lastWords(ctx, v)))
	}
	if state != "active" {
		return errors.Join(fmt.Errorf("etcd on %s does not serve yet: systemd calls it %s", v.Target(), state), lastWords(ctx, v))
	}
	members, e, err := membership.List(ctx, v)
	if err != nil {
		return err
	}
	m, ok := membership.MemberOn(members, v.Self())
	if !ok {
		return fmt.Errorf("%s is not in the member list: %s", v.Target(), membership.Describe(members))
	}
	if err := membership.CaughtUp(ctx, e, v.Target(), m); err != nil {
		return errors.Join(err, lastWords(ctx, v))
	}
	return nil
}

// undoStartMember stops the member and removes its data. Only a learner, or
// one that is removed, is stopped.
func undoStartMember(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	members, e, err := membership.List(ctx, h.Reader)
	if err != nil {
		return err
	}
	if m, ok := membership.MemberOn(members, h.Self()); ok && !m.Learner {
		return fmt.Errorf("the member on %s is not stopped: it is a voter, %s", h.Target(), membership.Describe(members))
	}
	if err := ownCluster(ctx, h.Reader, e); err != nil {
		return err
	}
	if err := errors.Join(disableUnit(ctx, h), stopUnit(ctx, h)); err != nil {
		return err
	}
	if err := removeData(ctx, h); err != nil {
		return err
	}
	return environmentBack(ctx, h)
}

// ownCluster refuses to stop an etcd that belongs to another cluster.
func ownCluster(ctx context.Context, v phases.Reader, e *etcd.Reader) error {
	if !slices.Contains(e.Hosts(), v.Target()) {
		return nil
	}
	_, leader, err := membership.Voter(ctx, e)
	if err != nil {
		return err
	}
	s, err := e.Status(ctx, v.Target())
	if err == nil && s.ClusterID != leader.ClusterID {
		return fmt.Errorf("etcd on %s is of cluster %x, not of %x, and is left as it is", v.Target(), s.ClusterID, leader.ClusterID)
	}
	return nil // one that does not answer is stopped
}

// removeData removes what the unit that is ours has made: the steps that wrote
// it stop where the folder holds anybody else's.
func removeData(ctx context.Context, h phases.Writer) error {
	host := h.On(h.Target())
	names, err := host.List(ctx, DataDir)
	if err != nil || !slices.Contains(names, "member") {
		return ignoreMissing(err)
	}
	f, err := host.ReadFile(ctx, unitFile)
	if err != nil && ignoreMissing(err) != nil {
		return err
	}
	if !isOurUnit(string(f.Data)) {
		return fmt.Errorf("%s on %s holds data, and etcd.service is not the one that this tool wrote: look whose it is, and move it away", DataDir, h.Target())
	}
	if _, err := host.Run(ctx, remote.Cmd("rm", "-rf", path.Join(DataDir, "member"))); err != nil {
		return fmt.Errorf("removing the data of the member on %s: %w", h.Target(), err)
	}
	return nil
}

// environmentBack removes the file with the initial cluster, or brings back
// what stood in its place.
func environmentBack(ctx context.Context, h phases.Writer) error {
	host := h.On(h.Target())
	f, err := host.ReadFile(ctx, EnvFile)
	if err != nil || !strings.HasPrefix(string(f.Data), environmentMark) {
		return ignoreMissing(err)
	}
	_, err = host.ReadFile(ctx, path.Join(hostfiles.BackupDir(startMemberID), EnvFile))
	if ignoreMissing(err) != nil {
		return err
	}
	return fileBack(ctx, host, startMemberID, EnvFile, err == nil)
}
