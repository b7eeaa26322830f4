package external

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
	"hamigrate/phases/etcd/membership"
	"hamigrate/phases/overlap"
)

// repointAPIServer makes the API server use the new members. --etcd-servers
// can't be reloaded, so it is restarted: overlapped by a second API server, or
// in place.
func repointAPIServer() phases.Step {
	return phases.Step{
		ID:    repointID,
		Title: "Point the API server to the new members",
		Why:   "It must not depend on the old member when that is removed.",
		On:    migrate.FirstControlPlane,
		Needs: []migrate.StepID{promoteID, moveLeaderID},
		ByHand: "Edit a copy outside the manifests folder, then move it in: the kubelet runs every file it finds there.\n\n" +
			"```\ncp /etc/kubernetes/manifests/kube-apiserver.yaml $HOME/\nsed 's#--etcd-servers=.*#--etcd-servers={{.EtcdServers}}#' $HOME/kube-apiserver.yaml > /etc/kubernetes/.kube-apiserver.new\nmv /etc/kubernetes/.kube-apiserver.new /etc/kubernetes/manifests/kube-apiserver.yaml\n```\n",
		Check:  checkRepoint,
		Verify: verifyRepoint,
		// kubeadm's own wait for a control plane is 4 minutes.
		Settle: 5 * time.Minute, WaitsFor: "kubelet",
	}
}

// repointInPlace restarts the API server, which is away meanwhile.
func repointInPlace() phases.Step {
	s := repointAPIServer()
	s.When = phases.When(phases.InPlace)
	s.Outage, s.Apply, s.Undo = restartOutage, applyRepoint, undoRepoint
	return s
}

// repointOverlapped restarts it behind the second one, there and back.
func repointOverlapped() phases.Step {
	s := repointAPIServer()
	s.When = phases.When(phases.Overlap)
	s.Needs = append(s.Needs, restart().RedirectID())
	s.Apply, s.Undo, s.Group = applyRepointOverlapped, undoRepointOverlapped, restart().StepGroup()
	return s
}

// repointTakenBackInPlace is repointOverlapped with the way back of
// repointInPlace.
func repointTakenBackInPlace() phases.Step {
	s := repointOverlapped()
	s.When = phases.When(phases.BackInPlace)
	s.Undo, s.Outage = undoRepoint, restartOutage
	return s
}

// restartOutage was measured on a small cluster: 36 to 44 s from the edit to
// ready.
const restartOutage = 45 * time.Second

// restart is the overlap around it. The second API server gets the new
// members first: if they do not work for it, the real one is not touched.
func restart() overlap.Restart {
	return overlap.Restart{
		Prefix: "etcd",
		Needs:  []migrate.StepID{promoteID, moveLeaderID},
		Done: func(ctx context.Context, v phases.Reader) (bool, error) {
			first := v.Access().Reader(v.First().Name)
			f, err := checkRepoint(ctx, first)
			return f.Verdict == migrate.Satisfied, err
		},
		Flags: func(v phases.Reader) map[string]string { return map[string]string{"etcd-servers": etcdServers(v)} },
		Former: func(ctx context.Context, v phases.Reader) (map[string]string, error) {
			if err := oldMemberKeepsAll(ctx, v); err != nil {
				return nil, err
			}
			servers, err := previousServers(ctx, v, nil)
			return map[string]string{"etcd-servers": servers}, err
		},
	}
}

// applyRepointOverlapped proves in the moment before that the second API
// server carries all clients. An attempt before may have been undone just
// now: a process that runs with the arguments wanted and is about to be
// stopped would be taken for the new one.
func applyRepointOverlapped(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	if err := overlap.Ready(ctx, h); err != nil {
		return err
	}
	if err := awaitKubelet(ctx, h.Reader); err != nil {
		return err
	}
	return changeEtcdServers(ctx, h, gracefully(ctx, h))
}

func checkRepoint(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
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
	finding := phases.Need(migrate.Before{"etcd-servers": have, "backup": hostfiles.BackupDir(repointID)},
		"it uses %s", have)
	// Only the line that changes: the rest may hold secrets, such as a proxy's
	// password in an environment variable.
	finding.Changes = []migrate.Change{{Object: v.Target() + ":" + phases.APIServerManifest,
		Before: "    - --etcd-servers=" + have + "\n", After: "    - --etcd-servers=" + want + "\n"}}
	return finding, nil
}

func applyRepoint(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	return changeEtcdServers(ctx, h, around{})
}

// verifyRepoint reads the running arguments: the kubelet may not have seen
// the change, or the old process may be on its way out still.
func verifyRepoint(ctx context.Context, v phases.Reader) error {
	if err := runningServers(ctx, v, etcdServers(v)); err != nil {
		return err
	}
	return apiserver.Readyz(ctx, v, v.Target())
}

// undoRepointOverlapped is undoRepoint while the second API server carries the
// clients.
func undoRepointOverlapped(ctx context.Context, h phases.Writer, before migrate.Before) error {
	err := takeRepointBack(ctx, h, before, func(standing bool) error {
		is, err := overlap.Redirected(ctx, h.On(h.Target()))
		if err != nil || is && !standing {
			return err // the clients are there already, and have no better place
		}
		if err := overlap.Ready(ctx, h); err != nil {
			return fmt.Errorf("the API server on %s is not restarted, because the second one does not carry its clients (`migrate rollback --strategy in-place` restarts it without): %w", h.Target(), err)
		}
		return nil
	}, gracefully(ctx, h))
	if notBack := (*notReadyError)(nil); errors.As(err, &notBack) {
		return fmt.Errorf("%w; clients are served by the second one until the real one is ready", err)
	}
	return err
}

// undoRepoint brings the manifest of before back in place, as it was changed.
func undoRepoint(ctx context.Context, h phases.Writer, before migrate.Before) error {
	return takeRepointBack(ctx, h, before, func(bool) error { return nil }, around{})
}

// takeRepointBack puts the manifest of before back, waits until the API server
// runs with it and is ready, and only then disarms the timer on the node,
// which acts were this run to die here. may is asked before anything is
// changed, and told whether the API server works with the new members; edit is
// around the change.
func takeRepointBack(ctx context.Context, h phases.Writer, before migrate.Before, may func(standing bool) error, edit around) error {
	host := h.On(h.Target())
	if err := awaitKubelet(ctx, h.Reader); err != nil {
		return err
	}
	servers, err := putBack(ctx, h, before, may, edit)
	if err != nil {
		return err
	}
	err = phases.Await(ctx, h.Reader, oldReady, func(ctx context.Context) error {
		if err := runningServers(ctx, h.Reader, servers); err != nil {
			return err
		}
		if err := apiserver.Readyz(ctx, h.Reader, h.Target()); err != nil {
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

// putBack writes the manifest of before where one with the new members is, and
// returns the etcd that it names. One that names another is left as it is: it
// was not edited, or is back already.
func putBack(ctx context.Context, h phases.Writer, before migrate.Before, may func(bool) error, edit around) (servers string, err error) {
	host := h.On(h.Target())
	now, err := host.ReadFile(ctx, phases.APIServerManifest)
	if err != nil {
		return "", err
	}
	m, err := kube.ParseManifest(now.Data)
	if err != nil {
		return "", fmt.Errorf("on %s: %w", h.Target(), err)
	}
	if have, _ := m.Flags().Get("etcd-servers"); have != etcdServers(h.Reader) {
		return have, nil
	}
	standing := verifyRepoint(ctx, h.Reader) == nil
	former, err := previousManifest(ctx, h.Reader, now)
	if err != nil {
		return "", err
	}
	if former == nil {
		// It worked, or the error says what to do.
		if former, err = editedByOthers(ctx, h.Reader, m, before); err != nil {
			return "", err
		}
		standing = true
	}
	serves := membership.OldMemberServes
	if standing {
		serves = oldMemberKeepsAll
	}
	if err := serves(ctx, h.Reader); err != nil {
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
