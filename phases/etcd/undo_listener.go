package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
)

// alone refuses as long as the old member has others beside it: they reach it
// by what is about to be taken away.
func alone(ctx context.Context, v phases.View) error {
	members, _, err := list(ctx, v)
	if err != nil {
		return err
	}
	if _, ok := oldMember(members, v); !ok || len(members) != 1 {
		return fmt.Errorf("the old member on %s is not the only one, and the others reach it there: %s", v.First().Name, describe(members))
	}
	return nil
}

// undoPeerRelay removes the relay when nobody needs it any more.
func undoPeerRelay(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	if err := alone(ctx, h.View); err != nil {
		return fmt.Errorf("the relay stays: %w", err)
	}
	return takeRelayDown(ctx, h)
}

// undoRemoveRelay sets the relay up again before the old member runs, so that
// the others reach it from its first moment on.
func undoRemoveRelay(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	old, running, err := h.OldEtcd(ctx)
	if err != nil {
		return err
	}
	if running {
		return setUpRelay(ctx, h, old.PeerAddress)
	}
	m, err := h.OldEtcdManifest(ctx)
	if err != nil {
		return err
	}
	target, local := phases.ListenAddress(m.Flags(), listenPeers)
	if !local {
		return fmt.Errorf("the old member's manifest was changed since: by it the member listens for others on %s itself, so the relay is not set up again", target)
	}
	return setUpRelay(ctx, h, target)
}

// undoPeerURL stores the URL of before. Others would not find the member by
// it, so it has to be the only one; and never a learner's (SetPeerURL).
func undoPeerURL(ctx context.Context, h phases.Hands, before migrate.Before) error {
	if before["peerURLs"] == "" {
		return errors.New("the journal does not say what the stored peer URL was before: set it back by hand with `etcdctl member update`, and run again")
	}
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	members, err := e.Members(ctx)
	if err != nil {
		return err
	}
	old, ok := oldMember(members, h.View)
	switch {
	case !ok:
		return errors.New("the old member is not in the member list")
	case strings.Join(old.PeerURLs, ",") == before["peerURLs"]:
		return nil
	case old.Learner:
		return errors.New("the old member is a learner: updating one would promote it silently (etcd-io/etcd#21694)")
	}
	if err := alone(ctx, h.View); err != nil {
		return fmt.Errorf("the stored peer URL stays: %w", err)
	}
	return e.SetPeerURL(ctx, h.Target(), old.ID, strings.Split(before["peerURLs"], ",")...)
}

// undoListen puts the manifest of before back, byte for byte, and waits until
// the member runs by it: once more a restart in which the API has no etcd.
func undoListen(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	host := h.On(h.Target())
	m, f, err := listenManifest(ctx, h.View)
	if err != nil {
		return err
	}
	if err := etcdFollows(ctx, h.View, m); err != nil {
		return err
	}
	kept := path.Join(phases.BackupDir(listenID), phases.EtcdManifest)
	if !localOnly(m) {
		if err := listenerBack(ctx, h, f, kept); err != nil {
			return err
		}
	}
	err = phases.Await(ctx, h.View, 5*time.Minute, func(ctx context.Context) error { return runsLocalOnly(ctx, h.View) })
	if err != nil {
		return fmt.Errorf("waiting for the old member with the manifest of before: %w", err)
	}
	return host.Remove(ctx, kept)
}

// listenerBack writes the copy, unless the manifest was changed since.
func listenerBack(ctx context.Context, h phases.Hands, now remote.File, kept string) error {
	f, err := h.On(h.Target()).ReadFile(ctx, kept)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s on %s is not there: take %s out of --%s in %s yourself", kept, h.Target(), PeerURL(h.First()), listenPeers, now.Path)
	}
	if err != nil {
		return err
	}
	m, err := kube.ParseManifest(f.Data)
	if err != nil {
		return fmt.Errorf("on %s, %s: %w", h.Target(), kept, err)
	}
	if ours, err := withListener(m, h.First()); err != nil || !bytes.Equal(ours, now.Data) {
		return errors.Join(err, fmt.Errorf("%s on %s was changed by somebody else meanwhile and is left as it is: mend it there, or copy %s over it", now.Path, h.Target(), kept))
	}
	if err := alone(ctx, h.View); err != nil {
		return fmt.Errorf("the listener stays: %w", err)
	}
	f.Path, f.Mode, f.Owner = now.Path, now.Mode, now.Owner
	return h.On(h.Target()).WriteFile(ctx, f)
}

// etcdFollows waits until no etcd runs by another manifest than the one in
// place: one that is about to be stopped would pass for the next one.
func etcdFollows(ctx context.Context, v phases.View, m kube.Manifest) error {
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

func runsLocalOnly(ctx context.Context, v phases.View) error {
	old, running, err := v.OldEtcd(ctx)
	if err != nil {
		return err
	}
	if !running || !old.LocalOnly {
		_, err := v.Etcd(ctx) // lets go of the connection to the one that has ended
		return errors.Join(fmt.Errorf("etcd on %s does not run with the manifest of before yet", v.Target()), err)
	}
	if _, _, err := list(ctx, v); err != nil {
		return err
	}
	return apiserver.Readyz(ctx, v, v.First().Name)
}
