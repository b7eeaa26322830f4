package external

import (
	"bytes"
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
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
	"hamigrate/phases/etcd/membership"
)

const (
	listenPeers   = "listen-peer-urls"
	advertisePeer = "initial-advertise-peer-urls"
)

// listen is the plain way to what peerRelay does: the old member itself gets
// a listener on the host's address. etcd reads its flags when it starts, so
// it is restarted, and the one API server has no etcd meanwhile.
func listen() phases.Step {
	return phases.Step{
		ID:    listenID,
		Title: "Let the old member listen on the host's address",
		Why:   "The old member listens for members on localhost only; the new ones are on other hosts.",
		On:    migrate.FirstControlPlane,
		When:  phases.When(phases.InPlace),
		// Measured on a small cluster of 1.36.3 on a busy machine with 2 cores:
		// 67 to 76 s, nine times. Most of it is the kubelet: before it starts
		// the new etcd it deletes the old one's mirror pod, and that call
		// hangs for 34 s in the API server that has no etcd.
		Outage: 75 * time.Second,
		ByHand: listenByHand(),
		Check:  checkListen,
		Apply:  applyListen,
		Verify: verifyListen,
		Undo:   undoListen,
		Settle: 5 * time.Minute, WaitsFor: "kubelet",
	}
}

func listenByHand() string {
	return "One voter, and nothing else on the port, or etcd does not come back:\n\n" +
		"```\ngrep -e listen-peer-urls -e initial-advertise-peer-urls /etc/kubernetes/manifests/etcd.yaml    # the host's address is in the first: nothing to do\n" +
		"kubectl -n kube-system exec etcd-{{.First.Name}} -- etcdctl --cacert /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key member list -w table\n" +
		"openssl x509 -noout -ext subjectAltName -in /etc/kubernetes/pki/etcd/peer.crt    # {{.First.Address}} is there\n" +
		"ip -o addr show to {{.First.Address}}; ss -Hltn src {{.First.Address}}:2380    # an interface, and no listener\n```\n\n" +
		"Edit a copy outside the manifests folder, then move it in: the kubelet runs every file it finds there.\n\n" +
		"```\ncp -p /etc/kubernetes/manifests/etcd.yaml $HOME/\n" +
		"sed -e 's#--listen-peer-urls=.*#&,https://{{.First.Address}}:2380#' -e 's#--initial-advertise-peer-urls=.*#--initial-advertise-peer-urls=https://{{.First.Address}}:2380#' $HOME/etcd.yaml > /etc/kubernetes/.etcd.new\n" +
		"chmod 0600 /etc/kubernetes/.etcd.new && mv /etc/kubernetes/.etcd.new /etc/kubernetes/manifests/etcd.yaml\n" +
		"curl -sk -o /dev/null -w '%{http_code}' https://127.0.0.1:6443/readyz    # 200 again after a good minute\n```\n"
}

func checkListen(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	m, _, err := listenManifest(ctx, v)
	if errors.Is(err, fs.ErrNotExist) {
		return phases.Done("there is no etcd.yaml in the manifests folder"), nil
	}
	if err != nil {
		return migrate.Finding{}, err
	}
	old, running, err := v.OldEtcd(ctx)
	if err != nil {
		return migrate.Finding{}, err
	}
	if blocked, err := notForced(ctx, v); err != nil || running && blocked.Verdict == migrate.Blocked {
		return blocked, err
	}
	local := localOnly(m)
	switch {
	case running && !old.LocalOnly:
		return phases.Done("the old member's peer listener is not on localhost only"), nil
	case running && !local:
		return phases.Need(migrate.Before{}, "the manifest is as it should be, but the old member listens for members on %s only", old.PeerAddress), nil
	case !running:
		return checkStopped(ctx, v, local)
	}
	if blocked, err := mayRestart(ctx, v, old); err != nil || blocked.Verdict == migrate.Blocked {
		return blocked, err
	}
	if _, err := withListener(m, v.First()); err != nil {
		return phases.Block("write --"+listenPeers+"=… as one word on one line of the manifest", "%v", err), nil
	}
	f := phases.Need(migrate.Before{"backup": hostfiles.BackupDir(listenID)}, "the old member listens for members on %s only", old.PeerAddress)
	// Only the lines that change: the rest may hold secrets, such as a
	// proxy's password in an environment variable.
	var before, after strings.Builder
	for _, set := range listenFlags(m, v.First()) {
		have, _ := m.Flags().Get(set.Name)
		f.Before[set.Name] = have
		fmt.Fprintf(&before, "    - --%s=%s\n", set.Name, have)
		fmt.Fprintf(&after, "    - --%s=%s\n", set.Name, set.Value)
	}
	f.Changes = []migrate.Change{{Object: v.Target() + ":" + phases.EtcdManifest, Before: before.String(), After: after.String()}}
	return f, nil
}

// checkStopped judges an etcd that does not run, though its manifest is
// there: a member that was removed ends by itself, and one that was just
// edited is on its way.
func checkStopped(ctx context.Context, v phases.Reader, local bool) (migrate.Finding, error) {
	members, _, err := membership.List(ctx, v)
	if err == nil {
		if _, ok := membership.OldMember(members, v); !ok {
			return phases.Done("%s has no member any more", v.Target()), nil
		}
	}
	if local {
		return phases.Block("the reason is in "+v.Target()+":/var/log/pods/kube-system_etcd-*/etcd/", "etcd does not run on %s, though its manifest is there", v.Target()), nil
	}
	return phases.Need(migrate.Before{}, "the manifest is as it should be, but etcd does not run"), nil
}

// mayRestart is Blocked where etcd, once restarted with the new listener,
// would take the cluster with it or not come back.
func mayRestart(ctx context.Context, v phases.Reader, old phases.OldEtcd) (migrate.Finding, error) {
	const relay = "leave out --strategy in-place: a relay needs no restart of etcd"
	members, _, err := membership.List(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	voters := slices.DeleteFunc(slices.Clone(members), func(m etcd.Member) bool { return m.Learner })
	if _, ok := membership.OldMember(voters, v); !ok || len(voters) != 1 {
		return phases.Block(relay, "the old member is not the only voter, and writes would stop while it restarts: %s", membership.Describe(members)), nil
	}
	if blocked, err := checkPeerCertificate(ctx, v, old); err != nil || blocked.Verdict == migrate.Blocked {
		return blocked, err
	}
	address := v.First().Address
	out, err := v.On(v.Target()).Look(ctx, remote.Cmd("ip", "-o", "addr", "show", "to", address))
	if err != nil {
		return migrate.Finding{}, fmt.Errorf("asking %s for its addresses: %w", v.Target(), err)
	}
	if strings.TrimSpace(out) == "" {
		return phases.Block(relay, "no interface of %s has the address %s: etcd can't listen on it", v.Target(), address), nil
	}
	// What answers there although etcd does not listen there would keep etcd
	// from starting.
	if conn, err := v.On(v.Target()).DialContext(ctx, "tcp", firstPeerAddress(v)); err == nil {
		conn.Close()
		return phases.Block("end it; a relay of an earlier run: systemctl disable --now "+relayName+".socket "+relayName+".service",
			"something listens on %s of %s already", firstPeerAddress(v), v.Target()), nil
	}
	return migrate.Finding{}, nil
}

func applyListen(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	m, f, err := listenManifest(ctx, h.Reader)
	if err != nil {
		return err
	}
	if !localOnly(m) {
		return nil
	}
	old, running, err := h.OldEtcd(ctx)
	if err != nil {
		return err
	}
	if !running {
		return errors.New("the old member has stopped")
	}
	if blocked, err := mayRestart(ctx, h.Reader, old); err != nil {
		return err
	} else if blocked.Verdict == migrate.Blocked {
		return fmt.Errorf("%s; %s", blocked.Reason, blocked.Remedy)
	}
	host := h.On(h.Target())
	if err := hostfiles.Backup(ctx, host, listenID, phases.EtcdManifest); err != nil {
		return err
	}
	if f.Data, err = withListener(m, h.First()); err != nil {
		return err
	}
	return host.WriteFile(ctx, f)
}

// verifyListen asks etcd before the API server, which has to find it again
// first: what fails is then named by its cause.
func verifyListen(ctx context.Context, v phases.Reader) error {
	old, running, err := v.OldEtcd(ctx)
	if err != nil {
		return err
	}
	if !running {
		// Lets go of the connection to the etcd that has ended: it would wait
		// ever longer before it tried again.
		_, err := v.Etcd(ctx)
		return errors.Join(fmt.Errorf("etcd does not run on %s", v.Target()), err)
	}
	if old.LocalOnly {
		return fmt.Errorf("etcd on %s listens for members on %s only", v.Target(), old.PeerAddress)
	}
	if _, _, err := membership.List(ctx, v); err != nil {
		return err
	}
	if err := oldMemberReached(ctx, v); err != nil {
		return err
	}
	cfg, err := v.AdminConfig(ctx)
	if err != nil {
		return err
	}
	return kube.Readyz(ctx, cfg)
}

// undoListen puts the manifest of before back, byte for byte, and waits until
// the member runs by it: once more a restart in which the API has no etcd.
func undoListen(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	host := h.On(h.Target())
	m, f, err := listenManifest(ctx, h.Reader)
	if err != nil {
		return err
	}
	if err := etcdFollows(ctx, h.Reader, m); err != nil {
		return err
	}
	kept := path.Join(hostfiles.BackupDir(listenID), phases.EtcdManifest)
	if !localOnly(m) {
		if err := listenerBack(ctx, h, f, kept); err != nil {
			return err
		}
	}
	err = phases.Await(ctx, h.Reader, 5*time.Minute, func(ctx context.Context) error { return runsLocalOnly(ctx, h.Reader) })
	if err != nil {
		return fmt.Errorf("waiting for the old member with the previous manifest: %w", err)
	}
	return host.Remove(ctx, kept)
}

// listenerBack writes the copy, unless the manifest was changed since.
func listenerBack(ctx context.Context, h phases.Writer, now remote.File, kept string) error {
	f, err := h.On(h.Target()).ReadFile(ctx, kept)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s on %s is not there: take %s out of --%s in %s yourself", kept, h.Target(), membership.PeerURL(h.First()), listenPeers, now.Path)
	}
	if err != nil {
		return err
	}
	m, err := kube.ParseManifest(f.Data)
	if err != nil {
		return fmt.Errorf("on %s, %s: %w", h.Target(), kept, err)
	}
	if ours, err := withListener(m, h.First()); err != nil || !bytes.Equal(ours, now.Data) {
		return errors.Join(err, fmt.Errorf("%s on %s was changed by somebody else meanwhile and is left as it is: fix it there, or copy %s over it", now.Path, h.Target(), kept))
	}
	if err := alone(ctx, h.Reader); err != nil {
		return fmt.Errorf("the listener stays: %w", err)
	}
	f.Path, f.Mode, f.Owner = now.Path, now.Mode, now.Owner
	return h.On(h.Target()).WriteFile(ctx, f)
}

// etcdFollows waits until no etcd runs by another manifest than the one in
// place: one that is about to be stopped would pass for the next one.
func etcdFollows(ctx context.Context, v phases.Reader, m kube.Manifest) error {
	want, _ := m.Flags().Get(listenPeers)
	err := phases.Await(ctx, v, kubeletActs, func(ctx context.Context) error {
		old, running, err := v.OldEtcd(ctx)
		if err != nil || !running {
			return err
		}
		if has, _ := old.Flags.Get(listenPeers); has != want {
			return fmt.Errorf("etcd on %s runs with --%s=%s and its manifest says %s", v.Target(), listenPeers, has, want)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the kubelet on %s to act on the old member's manifest: %w", v.Target(), err)
	}
	return nil
}

func runsLocalOnly(ctx context.Context, v phases.Reader) error {
	old, running, err := v.OldEtcd(ctx)
	if err != nil {
		return err
	}
	if !running || !old.LocalOnly {
		_, err := v.Etcd(ctx) // lets go of the connection to the one that has ended
		return errors.Join(fmt.Errorf("etcd on %s does not run with the previous manifest yet", v.Target()), err)
	}
	if _, _, err := membership.List(ctx, v); err != nil {
		return err
	}
	return apiserver.Readyz(ctx, v, v.First().Name)
}
