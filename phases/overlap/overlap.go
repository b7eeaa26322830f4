// Package overlap restarts an API server without a failed request. The API
// server reads most of its arguments only when it starts, and on a cluster
// with one of them a restart in place is 35 to 45 seconds without an API.
//
// The steps, each of them harmless if nothing follows it for hours:
//
//	temporary  a temporary API server on another port, ready
//	endpoints  a temporary endpoint lease that keeps the kubernetes endpoints
//	           filled: a last API server that stops cleanly empties them, and
//	           every kube-proxy on another node then refuses
//	redirect   it is written and read through, and new connections go to it,
//	           proven from every path
//	           … the real one is changed and restarts; a timer on the node puts
//	           the old manifest back if that fails and nobody is there …
//	back       timer disarmed, redirect removed
//	end        lease and temporary API server removed
//
// When one of the first three fails, or the restart, the run undoes them at
// once in the reverse order: the old manifest first, and nothing else before
// the real one answers again. Each Undo refuses where the step after it is not
// undone, because clients would find out.
//
// A restart that is done is undone by another one. That one needs the same, so
// the Undo of back and of end sets it up again, for the former arguments
// (former.go); then the restart, and what comes before it, are undone as above.
//
// Texts for people say "the second API server" for the temporary one, and the
// IDs of steps, paths and keys say "twin" and "stand-in". Both are kept: they
// are in journals and on hosts.
package overlap

import (
	"context"

	"hamigrate/migrate"
	"hamigrate/phases"
)

// Restart is what an overlap is for.
type Restart struct {
	// Prefix begins the IDs of the steps, "etcd".
	Prefix string
	// Done says whether the API server already runs as wanted, so that there
	// is nothing to overlap.
	Done func(context.Context, phases.Reader) (bool, error)
	// Flags are the arguments it is to get; the temporary one has them first.
	Flags func(phases.Reader) map[string]string
	// Former are the arguments that it had before, for the undo: then the
	// temporary one has these. The error says why it can't have them again.
	Former func(context.Context, phases.Reader) (map[string]string, error)
	// Needs are the steps before the first one here.
	Needs []migrate.StepID
}

// id is the ID of a step of this overlap.
func (r Restart) id(name string) migrate.StepID { return migrate.StepID(r.Prefix + "/" + name) }

// RedirectID is the last step before the restart.
func (r Restart) RedirectID() migrate.StepID { return r.id("overlap-redirect") }

// StepGroup is the name of the group that the steps before the restart and the
// restart itself form: they are undone when one of them fails. The steps after
// it only take things away, and are repeated until they are done.
func (r Restart) StepGroup() string { return r.Prefix + "/overlap" }

// Before are the steps that come before the restart.
func (r Restart) Before() []phases.Step {
	return []phases.Step{r.temporary(), r.endpoints(), r.redirect()}
}

// After are the steps that come after it; needs names it.
func (r Restart) After(needs migrate.StepID) []phases.Step {
	return []phases.Step{r.back(needs), r.end()}
}

// setup makes the check of a step that prepares the overlap: nothing to do
// where the restart is done.
func (r Restart) setup(there func(context.Context, phases.Reader) (bool, error), missing string) func(context.Context, phases.Reader) (migrate.Finding, error) {
	return func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
		done, err := r.Done(ctx, v)
		if err != nil {
			return migrate.Finding{}, err
		}
		if done {
			return phases.Done("the API server runs as wanted: there is nothing to overlap"), nil
		}
		ok, err := there(ctx, v)
		if err != nil {
			return migrate.Finding{}, err
		}
		if ok {
			return phases.Done("it is in place"), nil
		}
		return phases.Need(migrate.Before{"state": "absent"}, "%s", missing), nil
	}
}

// teardown makes the check of a step that takes the overlap away. In the plan
// of a whole phase it says what will have been set up by then.
func (r Restart) teardown(there func(context.Context, phases.Reader) (bool, error), present string) func(context.Context, phases.Reader) (migrate.Finding, error) {
	return func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
		ok, err := there(ctx, v)
		if err != nil {
			return migrate.Finding{}, err
		}
		if ok {
			return phases.Need(migrate.Before{"state": "present"}, "%s", present), nil
		}
		done, err := r.Done(ctx, v)
		if err != nil {
			return migrate.Finding{}, err
		}
		if !done {
			return phases.Need(migrate.Before{"state": "to come"}, "it will have been set up by then"), nil
		}
		return phases.Done("it is gone"), nil
	}
}
