package etcd

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
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
	"hamigrate/phases/overlap"
)

// oldReady is kubeadm's own wait for a control plane.
const oldReady = 4 * time.Minute

// restarting is time enough for an API server that was told to stop, and whose
// manifest is what it was, to be there again, unless its watches keep it for all
// of its shutdown's minute: then who tries again finds it. Longer it can't be:
// after a Verify that failed (5 minutes) the node's own timer (7) would put
// another manifest over the one that is looked at.
const restarting = time.Minute

// undoRepointOverlapped is undoRepoint while the second API server carries the
// clients.
func undoRepointOverlapped(ctx context.Context, h phases.Hands, before migrate.Before) error {
	err := takeRepointBack(ctx, h, before, func(standing bool) error {
		is, err := overlap.Redirected(ctx, h.On(h.Target()))
		if err != nil || is && !standing {
			return err // the clients are there already, and have no better place
		}
		if err := overlap.Ready(ctx, h); err != nil {
			return fmt.Errorf("the API server on %s is not restarted, because the second one does not carry its clients (`migrate rollback --strategy in-place` restarts it without): %w", h.Target(), err)
		}
		return nil
	}, gently(ctx, h))
	if notBack := (*notReadyError)(nil); errors.As(err, &notBack) {
		return fmt.Errorf("%w; clients are served by the second one until the real one is ready", err)
	}
	return err
}

// undoRepoint brings the manifest of before back in place, as it was changed.
func undoRepoint(ctx context.Context, h phases.Hands, before migrate.Before) error {
	return takeRepointBack(ctx, h, before, func(bool) error { return nil }, around{})
}

// notReadyError is that the API server does not get ready with what its
// manifest says now.
type notReadyError struct {
	node, servers string
	armed         bool
	err           error
}

func (e *notReadyError) Error() string {
	text := fmt.Sprintf("waiting for the API server on %s with --etcd-servers=%s: %v", e.node, e.servers, e.err)
	if e.armed {
		text += "; a timer there puts the last manifest that worked back in some minutes, from " + lastGood
	}
	return text
}

func (e *notReadyError) Unwrap() error { return e.err }

// takeRepointBack puts the manifest of before back, waits until the API server
// runs with it and is ready, and only then disarms the timer on the node,
// which acts were this run to die here. may is asked before anything is
// changed, and told whether the API server works with the new members; edit is
// around the change.
func takeRepointBack(ctx context.Context, h phases.Hands, before migrate.Before, may func(standing bool) error, edit around) error {
	host := h.On(h.Target())
	if err := awaitKubelet(ctx, h.View); err != nil {
		return err
	}
	servers, err := putBack(ctx, h, before, may, edit)
	if err != nil {
		return err
	}
	err = phases.Await(ctx, h.View, oldReady, func(ctx context.Context) error {
		if err := runningServers(ctx, h.View, servers); err != nil {
			return err
		}
		if err := apiserver.Readyz(ctx, h.View, h.Target()); err != nil {
			return err
		}
		return apiserver.DisarmWatchdog(ctx, host)
	})
	if err != nil {
		is, lookErr := apiserver.WatchdogArmed(context.WithoutCancel(ctx), host)
		return &notReadyError{node: h.Target(), servers: servers, armed: is && lookErr == nil, err: err}
	}
	// The next attempt takes a copy of its own: this one may be old by then.
	return host.Remove(ctx, backupOfManifest())
}

// kubeletActs is more than the kubelet's time to act on a manifest: it looks
// every 20 s (fileCheckFrequency) where it is not told of a change at once,
// and stops a pod in 30 s (terminationGracePeriodSeconds).
const kubeletActs = 90 * time.Second

// awaitKubelet waits until no API server runs with another --etcd-servers than
// its manifest names. One that does is about to be stopped. If the manifest
// were changed in that moment to what it runs with, it would answer, pass for
// the new one, and stop after the clients were sent to it.
func awaitKubelet(ctx context.Context, v phases.View) error {
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

// putBack writes the manifest of before where one with the new members is, and
// returns the etcd that it names. One that names another is left as it is: it
// was not edited, or is back already.
func putBack(ctx context.Context, h phases.Hands, before migrate.Before, may func(bool) error, edit around) (servers string, err error) {
	host := h.On(h.Target())
	now, err := host.ReadFile(ctx, phases.APIServerManifest)
	if err != nil {
		return "", err
	}
	m, err := kube.ParseManifest(now.Data)
	if err != nil {
		return "", fmt.Errorf("on %s: %w", h.Target(), err)
	}
	if have, _ := m.Flags().Get("etcd-servers"); have != etcdServers(h.View) {
		return have, nil
	}
	standing := verifyRepoint(ctx, h.View) == nil
	former, err := formerManifest(ctx, h.View, now)
	if err != nil {
		return "", err
	}
	if former == nil {
		// It worked, or the error says what to do.
		if former, err = editedByOthers(ctx, h.View, m, before); err != nil {
			return "", err
		}
		standing = true
	}
	serves := oldMemberServes
	if standing {
		serves = oldMemberKeepsAll
	}
	if err := serves(ctx, h.View); err != nil {
		return "", fmt.Errorf("%s on %s is left as it is: the one before it needs the old etcd member: %w", phases.APIServerManifest, h.Target(), err)
	}
	if err := may(standing); err != nil {
		return "", err
	}
	if servers, err = serversIn(h.Target(), former); err != nil {
		return "", err
	}
	if standing {
		return servers, replaceManifest(ctx, h, now, former, edit)
	}
	// The timer is armed for this very manifest, or for the one in place. The API
	// server may have been told to stop by a run that was killed since.
	return servers, edit.write(ctx, host, remote.File{Path: now.Path, Data: former, Mode: now.Mode, Owner: now.Owner})
}

// formerManifest is the manifest of before, byte for byte, where nothing but our
// edit was made since; otherwise it is nil.
func formerManifest(ctx context.Context, v phases.View, now remote.File) ([]byte, error) {
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
func editedByOthers(ctx context.Context, v phases.View, m kube.Manifest, before migrate.Before) ([]byte, error) {
	err := phases.Await(ctx, v, restarting, func(ctx context.Context) error { return verifyRepoint(ctx, v) })
	if err != nil {
		return nil, fmt.Errorf("%s on %s was changed by somebody else meanwhile and is left as it is: mend it there, or copy %s over it: %w",
			phases.APIServerManifest, v.Target(), backupOfManifest(), err)
	}
	servers, err := formerServers(ctx, v, before)
	if err != nil {
		return nil, err
	}
	return m.SetFlag("etcd-servers", servers)
}

// backupOfManifest is the copy of before the first attempt.
func backupOfManifest() string {
	return path.Join(phases.BackupDir(repointID), phases.APIServerManifest)
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

// formerServers is the --etcd-servers of before: by the copies on the node, or
// the journal, or as kubeadm writes it for the member that runs there.
func formerServers(ctx context.Context, v phases.View, before migrate.Before) (string, error) {
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
func oldMemberKeepsAll(ctx context.Context, v phases.View) error {
	if err := oldMemberServes(ctx, v); err != nil {
		return err
	}
	e, err := v.Etcd(ctx)
	if err != nil {
		return err
	}
	return SameHistory(ctx, e)
}

// usesOldMemberAlone is the error that an API server depends on a new member,
// or may again: while it does, none may be removed.
func usesOldMemberAlone(ctx context.Context, v phases.View) error {
	first := v.World().View(v.First().Name)
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
		if slices.Contains(strings.Split(servers, ","), ClientURL(h)) {
			return fmt.Errorf("the API server on %s uses the member on %s: its manifest says --etcd-servers=%s", first.Target(), h.Name, servers)
		}
	}
	return runningServers(ctx, first, servers)
}

// oldMemberServes says why the old member can't be used by an API server any
// more: once removed, it would serve a world of its own.
func oldMemberServes(ctx context.Context, v phases.View) error {
	members, e, err := list(ctx, v)
	if err != nil {
		return err
	}
	old, ok := oldMember(members, v)
	if !ok || old.Learner || !slices.Contains(e.Hosts(), v.First().Name) {
		return fmt.Errorf("it is no voter that answers: %s", describe(members))
	}
	s, err := e.Status(ctx, v.First().Name)
	if err == nil && s.MemberID != old.ID {
		err = fmt.Errorf("member %x answers in its place", s.MemberID)
	}
	return err
}
