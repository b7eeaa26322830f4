package external

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/process"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
	"hamigrate/phases/etcd/membership"
)

// oldReady is kubeadm's own wait for a control plane.
const oldReady = 4 * time.Minute

// restarting is time enough for an API server that was told to stop, and whose
// manifest is what it was, to be there again, unless its watches keep it for all
// of its shutdown's minute: then who tries again finds it. Longer it can't be:
// after a Verify that failed (5 minutes) the node's own timer (7) would put
// another manifest over the one that is looked at.
const restarting = time.Minute

// kubeletActs is more than the kubelet's time to act on a manifest: it looks
// every 20 s (fileCheckFrequency) where it is not told of a change at once,
// and stops a pod in 30 s (terminationGracePeriodSeconds).
const kubeletActs = 90 * time.Second

// awaitKubelet waits until no API server runs with another --etcd-servers than
// its manifest names. One that does is about to be stopped. If the manifest
// were changed in that moment to what it runs with, it would answer, pass for
// the new one, and stop after the clients were sent to it.
func awaitKubelet(ctx context.Context, v phases.Reader) error {
	f, err := v.On(v.Target()).ReadFile(ctx, phases.APIServerManifest)
	if err != nil {
		return err
	}
	m, err := kube.ParseManifest(f.Data)
	if err != nil {
		return fmt.Errorf("on %s: %w", v.Target(), err)
	}
	servers, _ := m.Flags().Get("etcd-servers")
	err = phases.Await(ctx, v, kubeletActs, func(ctx context.Context) error {
		p, running, err := v.APIServer(ctx, v.Target())
		if err != nil || !running {
			return err
		}
		if have, _ := p.Flags.Get("etcd-servers"); have != servers {
			return fmt.Errorf("the API server on %s runs with --etcd-servers=%s and its manifest says %s", v.Target(), have, servers)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the kubelet on %s to act on the API server's manifest: %w", v.Target(), err)
	}
	return nil
}

// previousManifest is the manifest of before, byte for byte, where nothing but our
// edit was made since; otherwise it is nil.
func previousManifest(ctx context.Context, v phases.Reader, now remote.File) ([]byte, error) {
	for _, path := range []string{lastGood, backupOfManifest()} {
		f, err := v.On(v.Target()).ReadFile(ctx, path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		good, err := kube.ParseManifest(f.Data)
		if err != nil {
			return nil, fmt.Errorf("on %s, %s: %w", v.Target(), path, err)
		}
		if have, _ := good.Flags().Get("etcd-servers"); have == etcdServers(v) {
			continue
		}
		if ours, err := good.SetFlag("etcd-servers", etcdServers(v)); err == nil && bytes.Equal(ours, now.Data) {
			return f.Data, nil
		}
	}
	return nil, nil
}

// editedByOthers is a manifest that somebody has edited, too. All of it is kept
// but our edit, if the API server works with it: what does not, somebody is
// mending.
func editedByOthers(ctx context.Context, v phases.Reader, m kube.Manifest, before migrate.Before) ([]byte, error) {
	err := phases.Await(ctx, v, restarting, func(ctx context.Context) error { return verifyRepoint(ctx, v) })
	if err != nil {
		return nil, fmt.Errorf("%s on %s was changed by somebody else meanwhile and is left as it is: fix it there, or copy %s over it: %w",
			phases.APIServerManifest, v.Target(), backupOfManifest(), err)
	}
	servers, err := previousServers(ctx, v, before)
	if err != nil {
		return nil, err
	}
	return m.SetFlag("etcd-servers", servers)
}

// backupOfManifest is the copy of before the first attempt.
func backupOfManifest() string {
	return path.Join(hostfiles.BackupDir(repointID), phases.APIServerManifest)
}

// serversIn reads the --etcd-servers of a manifest.
func serversIn(node string, manifest []byte) (string, error) {
	m, err := kube.ParseManifest(manifest)
	if err != nil {
		return "", fmt.Errorf("on %s: %w", node, err)
	}
	servers, _ := m.Flags().Get("etcd-servers")
	return servers, nil
}

// previousServers is the --etcd-servers of before: by the copies on the node, or
// the journal, or as kubeadm writes it for the member that runs there.
func previousServers(ctx context.Context, v phases.Reader, before migrate.Before) (string, error) {
	for _, path := range []string{lastGood, backupOfManifest()} {
		f, err := v.On(v.Target()).ReadFile(ctx, path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		servers, err := serversIn(v.Target(), f.Data)
		if err != nil {
			return "", err
		}
		if servers != "" && servers != etcdServers(v) {
			return servers, nil
		}
	}
	if servers := before["etcd-servers"]; servers != "" {
		return servers, nil
	}
	old, running, err := v.OldEtcd(ctx)
	if err == nil && !running {
		err = fmt.Errorf("no etcd runs on %s", v.First().Name)
	}
	return "https://" + old.ClientAddress, err
}

// oldMemberKeepsAll is oldMemberServes with the proof that it holds what the
// others do.
func oldMemberKeepsAll(ctx context.Context, v phases.Reader) error {
	if err := membership.OldMemberServes(ctx, v); err != nil {
		return err
	}
	e, err := v.Etcd(ctx)
	if err != nil {
		return err
	}
	return membership.SameHistory(ctx, e)
}

// usesOldMemberAlone is the error that an API server depends on a new member,
// or may again: while it does, none may be removed.
func usesOldMemberAlone(ctx context.Context, v phases.Reader) error {
	first := v.Access().Reader(v.First().Name)
	if err := apiserver.RequireDisarmed(ctx, first.On(first.Target())); err != nil {
		return err
	}
	f, err := first.On(first.Target()).ReadFile(ctx, phases.APIServerManifest)
	if err != nil {
		return err
	}
	servers, err := serversIn(first.Target(), f.Data)
	if err != nil {
		return err
	}
	for _, h := range v.Spec().Etcd.Hosts {
		if slices.Contains(strings.Split(servers, ","), membership.ClientURL(h)) {
			return fmt.Errorf("the API server on %s uses the member on %s: its manifest says --etcd-servers=%s", first.Target(), h.Name, servers)
		}
	}
	return runningServers(ctx, first, servers)
}

// around is done right before and right after an API server's manifest is
// changed. Empty, it does nothing.
type around struct{ before, after func() error }

// write changes an API server's manifest.
func (a around) write(ctx context.Context, host remote.Host, f remote.File) error {
	if a.before != nil {
		if err := a.before(); err != nil {
			return err
		}
	}
	if err := host.WriteFile(ctx, f); err != nil || a.after == nil {
		return err
	}
	return a.after()
}

// gracefully stops the API server of the target so that its clients, which the
// second one serves by then, notice nothing.
func gracefully(ctx context.Context, h phases.Writer) around {
	var was process.Running
	return around{
		before: func() (err error) {
			was, err = apiserver.Stop(ctx, h)
			return err
		},
		after: func() error { return apiserver.AwaitStopped(ctx, h, was) },
	}
}

// etcdServers is the API server's list: the members alone, no load balancer
// (kubernetes/kubernetes#67341) and never a learner.
func etcdServers(v phases.Reader) string {
	return strings.Join(Topology{}.Servers(v.Spec(), v.First().Name), ",")
}

// runningServers compares what the running process was started with.
func runningServers(ctx context.Context, v phases.Reader, want string) error {
	p, running, err := v.APIServer(ctx, v.Target())
	if err != nil {
		return err
	}
	if !running {
		return fmt.Errorf("no API server runs on %s", v.Target())
	}
	if have, _ := p.Flags.Get("etcd-servers"); have != want {
		return fmt.Errorf("the API server on %s runs with --etcd-servers=%s", v.Target(), have)
	}
	return nil
}

// changeEtcdServers edits the manifest.
func changeEtcdServers(ctx context.Context, h phases.Writer, edit around) error {
	if err := membersReady(ctx, h.Reader); err != nil {
		return err
	}
	host := h.On(h.Target())
	f, err := host.ReadFile(ctx, phases.APIServerManifest)
	if err != nil {
		return err
	}
	m, err := kube.ParseManifest(f.Data)
	if err != nil {
		return fmt.Errorf("on %s: %w", h.Target(), err)
	}
	if have, _ := m.Flags().Get("etcd-servers"); have == etcdServers(h.Reader) {
		return nil
	}
	if err := hostfiles.Backup(ctx, host, repointID, phases.APIServerManifest); err != nil {
		return err
	}
	changed, err := m.SetFlag("etcd-servers", etcdServers(h.Reader))
	if err != nil {
		return err
	}
	return replaceManifest(ctx, h, f, changed, edit)
}

// replaceManifest writes the API server's manifest with a timer on the node
// that brings back the one that worked.
func replaceManifest(ctx context.Context, h phases.Writer, f remote.File, changed []byte, edit around) error {
	host := h.On(h.Target())
	keep, err := worked(ctx, h.Reader, changed)
	if err != nil {
		return err
	}
	if !keep {
		if err := host.WriteFile(ctx, remote.File{Path: lastGood, Data: f.Data, Mode: 0o600, Owner: "root:root"}); err != nil {
			return err
		}
	}
	if err := apiserver.ArmWatchdog(ctx, h, lastGood); err != nil {
		return err
	}
	f.Data = changed
	return edit.write(ctx, host, f)
}

// worked says that the last good manifest on the node is the one to be
// written, and that the one in its place does not work: forward again from a
// way back that failed, and the other way round.
func worked(ctx context.Context, v phases.Reader, changed []byte) (bool, error) {
	good, err := v.On(v.Target()).ReadFile(ctx, lastGood)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !bytes.Equal(good.Data, changed) {
		return false, err
	}
	return apiserver.Readyz(ctx, v, v.Target()) != nil, nil
}

// membersReady: an API server that reads from one cluster and writes to
// another destroys both, so one cluster and one history are proven in the
// moment before.
func membersReady(ctx context.Context, v phases.Reader) error {
	members, e, err := membership.List(ctx, v)
	if err != nil {
		return err
	}
	for _, h := range v.Spec().Etcd.Hosts {
		m, ok := membership.MemberOn(members, h)
		if !ok || m.Learner || !slices.Contains(e.Hosts(), h.Name) {
			return fmt.Errorf("%s is not a voter that answers: %s", h.Name, membership.Describe(members))
		}
		// From where the API server is, and not only from the host itself.
		address := strings.TrimPrefix(membership.ClientURL(h), "https://")
		if _, err := kube.ServedCertificate(ctx, v.On(v.First().Name).DialContext, address, nil); err != nil && !needsClientCert(err) {
			return fmt.Errorf("reaching the member on %s from %s: %w", h.Name, v.First().Name, err)
		}
	}
	var clusterID uint64
	for _, host := range e.Hosts() {
		s, err := e.Status(ctx, host)
		if err != nil {
			return err
		}
		if clusterID != 0 && s.ClusterID != clusterID {
			return errors.New("the members are of two clusters")
		}
		clusterID = s.ClusterID
	}
	return membership.SameHistory(ctx, e)
}

// needsClientCert: a member refuses a handshake without a client certificate,
// which proves as well that it is reached.
func needsClientCert(err error) bool {
	var alert tls.AlertError
	return errors.As(err, &alert)
}

// lastGood is the manifest that the node puts back by itself: the one that
// worked a moment ago, not the pre-image of the first attempt. On the way back
// that is one with the new members.
const lastGood = hostfiles.StateDir + "/kube-apiserver.last-good.yaml"
