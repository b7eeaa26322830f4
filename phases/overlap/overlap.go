// Package overlap restarts an API server without a failed request. The API
// server reads most of its arguments only when it starts, and on a cluster
// with one of them a restart in place is 35 to 45 seconds without an API.
//
// The steps, each of them harmless if nothing follows it for hours:
//
//	twin      a second API server on another port, ready, written and read through
//	stand-in  a second lease that keeps the kubernetes endpoints filled: a last
//	          API server that stops cleanly empties them, and every kube-proxy
//	          on another node then refuses
//	redirect  new connections go to the twin, proven from every path
//	          … the real one is changed and restarts; a timer on the node puts
//	          the old manifest back if that fails and nobody is there …
//	back      timer disarmed, redirect removed, then stand-in and twin
//
// When one of these fails, the restart included, the run takes them back at
// once in the reverse order (undo.go): the old manifest first, and nothing
// else before the real one answers again.
//
// A restart that is done is taken back by another one. On that way the undoing
// of what comes after it sets the same up again, for the former arguments
// (wayback.go); then the restart, and what comes before it, are undone as above.
package overlap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"

	"k8s.io/client-go/rest"
)

// Restart is what an overlap is for.
type Restart struct {
	// Prefix begins the IDs of the steps, "etcd".
	Prefix string
	// Done says whether the API server already runs as wanted, so that there
	// is nothing to overlap.
	Done func(context.Context, phases.View) (bool, error)
	// Flags are the arguments it is to get; the twin has them first.
	Flags func(phases.View) map[string]string
	// Former are the arguments that it had before, for the way back: then the
	// second one has these. The error says why it can't have them again.
	Former func(context.Context, phases.View) (map[string]string, error)
	// Needs are the steps before the first one here.
	Needs []migrate.StepID
}

// TwinID, StandInID and RedirectID are the IDs of the steps before the
// restart.
func (r Restart) id(name string) migrate.StepID { return migrate.StepID(r.Prefix + "/" + name) }

// RedirectID is the last step before the restart.
func (r Restart) RedirectID() migrate.StepID { return r.id("overlap-redirect") }

// Bracket is the name of the bracket that the steps before the restart and the
// restart itself form: they are taken back when one of them fails. The steps
// after it only take things away, and are repeated until they are done.
func (r Restart) Bracket() string { return r.Prefix + "/overlap" }

// twinConfig reaches the twin from its node. Its certificate is the real
// one's, which holds the node's address and not the loopback one.
func twinConfig(ctx context.Context, v phases.View, node string) (*rest.Config, error) {
	return apiserver.ConfigAt(ctx, v, node, TwinPort)
}

// twinAnswers proves from every path that the twin answers (or, with want
// false, that it does not any more).
func twinAnswers(ctx context.Context, v phases.View, node string, want bool) error {
	cfg, err := twinConfig(ctx, v, node)
	if err != nil {
		return err
	}
	r, err := apiserver.FrontOf(ctx, v, node)
	if err != nil {
		return err
	}
	own, err := temporaryAddress(r)
	if err != nil {
		return err
	}
	identify, twin, err := apiserver.Identify(ctx, cfg, own)
	if err != nil {
		return err
	}
	paths, err := apiserver.Paths(ctx, v, node)
	if err != nil {
		return err
	}
	return apiserver.Expect{
		Node:     node,
		Identify: identify,
		May:      func(_ apiserver.Path, identity string) bool { return (identity == twin) == want },
	}.OnEach(ctx, v, paths)
}

// twinReachable opens a connection to the twin's own port along every way: a
// firewall between the hosts may know the API's port only, and behind the
// redirect all clients would find out at once.
func twinReachable(ctx context.Context, v phases.View, node string) error {
	list, err := apiserver.Paths(ctx, v, node)
	if err != nil {
		return err
	}
	r, err := apiserver.FrontOf(ctx, v, node)
	if err != nil {
		return err
	}
	twin, err := temporaryAddress(r)
	if err != nil {
		return err
	}
	return apiserver.EachPath(list, func(w apiserver.Path) error {
		if w.Pod {
			return nil // it is let through to the Service and to nothing else
		}
		if _, err := kube.ServedCertificate(ctx, w.Dialer(v), twin, nil); err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
		return nil
	})
}

// twinReady says that the twin's manifest is in place and it answers: a file
// alone serves nobody.
func twinReady(ctx context.Context, v phases.View, node string) (bool, error) {
	there, err := twinThere(ctx, v.On(node))
	if err != nil || !there {
		return false, err
	}
	cfg, err := twinConfig(ctx, v, node)
	if err != nil {
		return false, err
	}
	return kube.Readyz(ctx, cfg) == nil, nil
}

// twinThere says whether the twin's manifest is in place.
func twinThere(ctx context.Context, r remote.Reader) (bool, error) {
	_, err := r.ReadFile(ctx, TwinManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
