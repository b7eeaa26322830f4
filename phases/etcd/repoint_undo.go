package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/overlap"
)

// oldReady is kubeadm's own wait for a control plane.
const oldReady = 4 * time.Minute

// undoRepoint puts the manifest that worked back, byte for byte, waits until
// the API server runs with it and is ready, and only then disarms the timer on
// the node, which would do the same were this run to die here. The redirect is
// in place meanwhile: the second API server carries the clients.
func undoRepoint(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	host := h.On(h.Target())
	if err := awaitKubelet(ctx, h.View); err != nil {
		return err
	}
	good, back, err := putBack(ctx, h)
	if err != nil {
		return err
	}
	if !back {
		return overlap.Disarm(ctx, host) // the attempt was cut before the edit
	}
	servers, _ := good.Flags().Get("etcd-servers")
	err = phases.Await(ctx, h.View, oldReady, func(ctx context.Context) error {
		if err := runningServers(ctx, h.View, servers); err != nil {
			return err
		}
		if err := overlap.RealReadyz(ctx, h.View, h.Target()); err != nil {
			return err
		}
		return overlap.Disarm(ctx, host)
	})
	if err != nil {
		return fmt.Errorf("waiting for the API server on %s with the manifest that worked before: %w", h.Target(), err)
	}
	return nil
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

// putBack writes the last good manifest where ours is, and returns it. False
// means that the manifest was not edited in this bracket.
func putBack(ctx context.Context, h phases.Hands) (kube.Manifest, bool, error) {
	host := h.On(h.Target())
	now, err := host.ReadFile(ctx, phases.APIServerManifest)
	if err != nil {
		return kube.Manifest{}, false, err
	}
	m, err := kube.ParseManifest(now.Data)
	if err != nil {
		return kube.Manifest{}, false, fmt.Errorf("on %s: %w", h.Target(), err)
	}
	servers, _ := m.Flags().Get("etcd-servers")
	edited := servers == etcdServers(h.View)
	file, err := host.ReadFile(ctx, lastGood)
	if errors.Is(err, fs.ErrNotExist) && !edited {
		return kube.Manifest{}, false, nil
	}
	if err != nil {
		return kube.Manifest{}, false, err
	}
	good, err := kube.ParseManifest(file.Data)
	if err != nil {
		return kube.Manifest{}, false, fmt.Errorf("on %s, %s: %w", h.Target(), lastGood, err)
	}
	if !edited {
		return good, bytes.Equal(now.Data, file.Data), nil
	}
	if ours, err := good.SetFlag("etcd-servers", etcdServers(h.View)); err != nil || !bytes.Equal(ours, now.Data) {
		return kube.Manifest{}, false, errors.Join(err, fmt.Errorf("%s on %s was changed by somebody else meanwhile and is left as it is: mend it there, or copy %s over it",
			phases.APIServerManifest, h.Target(), lastGood))
	}
	if err := oldMemberServes(ctx, h.View); err != nil {
		return kube.Manifest{}, false, fmt.Errorf("%s on %s is left as it is: the one before it needs the old etcd member: %w", phases.APIServerManifest, h.Target(), err)
	}
	return good, true, host.WriteFile(ctx, remote.File{Path: now.Path, Data: file.Data, Mode: now.Mode, Owner: now.Owner})
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
