// Package balancer is what a load balancer in front of the API servers is to the
// rest of the program, and what is the same for all kinds: the proof that the
// endpoint leads through it. A kind is a package below this one; which of them a
// spec asks for is decided in phases/balancers alone.
package balancer

import (
	"context"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases"
)

// EndpointID is the step that proves that a load balancer leads to the API
// servers, whatever its kind. All that follows the endpoint needs this step.
const EndpointID migrate.StepID = "loadbalancer/endpoint"

// BackendID is the step that adds one API server to a load balancer.
const BackendID migrate.StepID = "controlplane/backend"

// Balancer is one kind of load balancer, as data.
type Balancer struct {
	Kind    string // spec.loadBalancer.kind
	Machine string // what one host of it is called in a sentence: "nginx"

	// Steps make it pass the endpoint's port through to the first API server, in
	// their order. A kind that somebody else configures has none.
	Steps []phases.Step
	// Serves is the step from which on it answers at the endpoint: one of Steps,
	// or EndpointID.
	Serves migrate.StepID
	// Check and Verify are those of the step EndpointID. Check gets no further
	// than to look, and says with Blocked what its owner has to do first.
	Check  func(context.Context, phases.Reader) (migrate.Finding, error)
	Verify func(context.Context, phases.Reader) error
	// Begun says whether a host of it may have our configuration: one that does
	// not answer may. Without it on any host, phase 1 was not begun.
	Begun func(context.Context, phases.Reader) (bool, error)
	// Forwards is what the target, a host of it, passes connections to.
	Forwards func(context.Context, phases.Reader) (Forwards, error)

	Backends Backends
	First    First
	Ahead    Ahead
	// ByHand are the parts of playbooks that differ by kind.
	ByHand func(cluster.Spec) ByHand
}

// Configured says whether this program configures it, and not somebody else.
func (b Balancer) Configured() bool { return len(b.Steps) > 0 }

// Forwards is what a host of a load balancer does with connections.
type Forwards struct {
	Backends []string // host:port of the API servers, in order
	// Stale says that this is not what it does yet: "nginx has not loaded its file
	// since that was written". "" where it is.
	Stale string
}

// Backends changes which API servers the load balancer passes connections to.
// Each method is about the API server of the target, a control-plane node.
type Backends interface {
	// Check is satisfied where the load balancer passes connections to it.
	Check(context.Context, phases.Reader) (migrate.Finding, error)
	// Reached is the error that the load balancer's own way to it does not work.
	Reached(context.Context, phases.Reader) error
	// Add is called when it is ready. It may be called again.
	Add(context.Context, phases.Writer) error
	// Remove returns when no new connection is passed to it. Connections that are
	// open stay. It is refused where no other API server would answer.
	Remove(context.Context, phases.Writer) error
	// Removed is the error that connections may still be passed to it.
	Removed(context.Context, phases.Reader) error
}

// First takes the first API server out for a moment, to prove that the endpoint
// answers without it.
type First interface {
	// Missing lists the hosts that do not pass connections to it. One that was
	// killed in Without is among them.
	Missing(context.Context, phases.Reader) ([]string, error)
	// PutBack lets every host pass connections to it again.
	PutBack(context.Context, phases.Writer) error
	// Without calls try while it is out of the load balancer, and puts it back
	// whatever becomes of that. Where it can't be taken out, try is called with out
	// false.
	Without(ctx context.Context, h phases.Writer, try func(ctx context.Context, out bool) error) error
}

// Ahead says what would stop the steps, for preflight. Each function looks at
// the target, a host of the load balancer. Both are nil where there are no steps.
type Ahead struct {
	Configuration func(context.Context, phases.Reader) (Outlook, error)
	Installation  func(context.Context, phases.Reader) (Outlook, error)
}

// Outlook is what is to be expected of a change.
type Outlook struct {
	Found []Finding
	// Fine is what to say where nothing was found.
	Fine string
	// NotTried says what could not be tried by a login that may only look; ""
	// where it was tried, or need not be.
	NotTried string
}

// Finding is something that would stop a change, or may.
type Finding struct {
	Blocks       bool
	Seen, Remedy string
}

// ByHand is what a person does instead of the program. Each text is Markdown, a
// text/template over playbooks.Data.
type ByHand struct {
	Configuration string // what Steps write
	Prove         string // that it leads to the API server
	Add           string // the target's API server
	WithoutFirst  string // prove that the endpoint answers without the first one
}

// Parts are the texts by the names that the steps' ByHand calls them by.
func (b ByHand) Parts() map[string]string {
	return map[string]string{"balancer-configuration": b.Configuration, "balancer-prove": b.Prove, "balancer-add": b.Add, "balancer-without-first": b.WithoutFirst}
}
