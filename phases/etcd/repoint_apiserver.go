package etcd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
	"hamigrate/phases/overlap"
)

const repointID = "etcd/repoint-apiserver"

// repointAPIServer makes the API server use the new members. --etcd-servers
// can't be reloaded, so it is restarted: overlapped by a second API server, or
// in place.
func repointAPIServer(strategy phases.Strategy) phases.Step {
	s := repointInPlace()
	if strategy == phases.Overlap {
		s.Outage = 0
		s.Needs = append(s.Needs, restart().RedirectID())
		s.Apply = applyRepointOverlapped
		s.Undo, s.Bracket = undoRepointOverlapped, restart().StepGroup()
	}
	return s
}

// restart is the overlap around it. The second API server gets the new
// members first: if they do not work for it, the real one is not touched.
func restart() overlap.Restart {
	return overlap.Restart{
		Prefix: "etcd",
		Needs:  []migrate.StepID{promoteID, moveLeaderID},
		Done: func(ctx context.Context, v phases.View) (bool, error) {
			first := v.World().View(v.First().Name)
			f, err := checkRepoint(ctx, first)
			return f.Verdict == migrate.Satisfied, err
		},
		Flags: func(v phases.View) map[string]string { return map[string]string{"etcd-servers": etcdServers(v)} },
		Former: func(ctx context.Context, v phases.View) (map[string]string, error) {
			if err := oldMemberKeepsAll(ctx, v); err != nil {
				return nil, err
			}
			servers, err := formerServers(ctx, v, nil)
			return map[string]string{"etcd-servers": servers}, err
		},
	}
}

// applyRepointOverlapped proves in the moment before that the second API
// server carries all clients. An attempt before may have been taken back just
// now: a process that runs with the arguments wanted and is about to be
// stopped would be taken for the new one.
func applyRepointOverlapped(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	if err := overlap.Ready(ctx, h); err != nil {
		return err
	}
	if err := awaitKubelet(ctx, h.View); err != nil {
		return err
	}
	return changeEtcdServers(ctx, h, gently(ctx, h))
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

// gently stops the API server of the target so that its clients, which the
// second one serves by then, notice nothing.
func gently(ctx context.Context, h phases.Hands) around {
	var was phases.Process
	return around{
		before: func() (err error) {
			was, err = apiserver.Stop(ctx, h)
			return err
		},
		after: func() error { return apiserver.AwaitStopped(ctx, h, was) },
	}
}

// lastGood is the manifest that the node puts back by itself: the one that
// worked a moment ago, not the pre-image of the first attempt. On the way back
// that is one with the new members.
const lastGood = phases.StateDir + "/kube-apiserver.last-good.yaml"

func repointInPlace() phases.Step {
	return phases.Step{
		ID:    repointID,
		Title: "Point the API server to the new members",
		Why:   "It must not depend on the old member when that is removed.",
		On:    migrate.FirstControlPlane,
		Needs: []migrate.StepID{promoteID, moveLeaderID},
		// Measured on a small cluster: 36 to 44 s from the edit to ready.
		Outage: 45 * time.Second,
		ByHand: "Edit a copy outside the manifests folder, then move it in: the kubelet runs every file it finds there.\n\n" +
			"```\ncp /etc/kubernetes/manifests/kube-apiserver.yaml $HOME/\nsed 's#--etcd-servers=.*#--etcd-servers={{.EtcdServers}}#' $HOME/kube-apiserver.yaml > /etc/kubernetes/.kube-apiserver.new\nmv /etc/kubernetes/.kube-apiserver.new /etc/kubernetes/manifests/kube-apiserver.yaml\n```\n",
		Check:  checkRepoint,
		Apply:  applyRepoint,
		Verify: verifyRepoint,
		Undo:   undoRepoint,
		// kubeadm's own wait for a control plane is 4 minutes.
		Settle: 5 * time.Minute, WaitsFor: "kubelet",
	}
}

// etcdServers is the API server's list: the members alone, no load balancer
// (kubernetes/kubernetes#67341) and never a learner.
func etcdServers(v phases.View) string {
	var urls []string
	for _, h := range v.Spec().Etcd.Hosts {
		urls = append(urls, ClientURL(h))
	}
	return strings.Join(urls, ",")
}

func checkRepoint(ctx context.Context, v phases.View) (migrate.Finding, error) {
	f, err := v.On(v.Target()).ReadFile(ctx, phases.APIServerManifest)
	if err != nil {
		return migrate.Finding{}, err
	}
	m, err := kube.ParseManifest(f.Data)
	if err != nil {
		return migrate.Finding{}, fmt.Errorf("on %s: %w", v.Target(), err)
	}
	if list, ok := m.Flags().Get("etcd-servers-overrides"); ok {
		return phases.Block("move those resources to the main etcd first", "the API server keeps some resources elsewhere: --etcd-servers-overrides=%s", list), nil
	}
	want := etcdServers(v)
	have, _ := m.Flags().Get("etcd-servers")
	if have == want {
		if err := runningServers(ctx, v, want); err != nil {
			return phases.Need(migrate.Before{}, "the manifest is as it should be, but %v", err), nil
		}
		return phases.Done("it uses %s", want), nil
	}
	if _, err := m.SetFlag("etcd-servers", want); err != nil {
		return phases.Block("write --etcd-servers=… as one word on one line of the manifest", "%v", err), nil
	}
	finding := phases.Need(migrate.Before{"etcd-servers": have, "backup": phases.BackupDir(repointID)},
		"it uses %s", have)
	// Only the line that changes: the rest may hold secrets, such as a proxy's
	// password in an environment variable.
	finding.Changes = []migrate.Change{{Object: v.Target() + ":" + phases.APIServerManifest,
		Before: "    - --etcd-servers=" + have + "\n", After: "    - --etcd-servers=" + want + "\n"}}
	return finding, nil
}

// runningServers compares what the running process was started with.
func runningServers(ctx context.Context, v phases.View, want string) error {
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

func applyRepoint(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	return changeEtcdServers(ctx, h, around{})
}

// changeEtcdServers edits the manifest.
func changeEtcdServers(ctx context.Context, h phases.Hands, edit around) error {
	if err := membersReady(ctx, h.View); err != nil {
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
	if have, _ := m.Flags().Get("etcd-servers"); have == etcdServers(h.View) {
		return nil
	}
	if err := phases.Backup(ctx, host, repointID, phases.APIServerManifest); err != nil {
		return err
	}
	changed, err := m.SetFlag("etcd-servers", etcdServers(h.View))
	if err != nil {
		return err
	}
	return replaceManifest(ctx, h, f, changed, edit)
}

// replaceManifest writes the API server's manifest with a timer on the node
// that brings back the one that worked.
func replaceManifest(ctx context.Context, h phases.Hands, f remote.File, changed []byte, edit around) error {
	host := h.On(h.Target())
	keep, err := worked(ctx, h.View, changed)
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
func worked(ctx context.Context, v phases.View, changed []byte) (bool, error) {
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
func membersReady(ctx context.Context, v phases.View) error {
	members, e, err := list(ctx, v)
	if err != nil {
		return err
	}
	for _, h := range v.Spec().Etcd.Hosts {
		m, ok := memberOn(members, h)
		if !ok || m.Learner || !slices.Contains(e.Hosts(), h.Name) {
			return fmt.Errorf("%s is not a voter that answers: %s", h.Name, describe(members))
		}
		// From where the API server is, and not only from the host itself.
		address := strings.TrimPrefix(ClientURL(h), "https://")
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
	return SameHistory(ctx, e)
}

// needsClientCert: a member refuses a handshake without a client certificate,
// which proves as well that it is reached.
func needsClientCert(err error) bool {
	var alert tls.AlertError
	return errors.As(err, &alert)
}

// verifyRepoint reads the running arguments: the kubelet may not have seen
// the change, or the old process may be on its way out still.
func verifyRepoint(ctx context.Context, v phases.View) error {
	if err := runningServers(ctx, v, etcdServers(v)); err != nil {
		return err
	}
	return apiserver.Readyz(ctx, v, v.Target())
}
