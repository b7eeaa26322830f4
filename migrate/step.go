package migrate

import (
	"context"
	"time"
)

// StepID names a step for ever: it is the journal's key. "etcd/add-learner".
// Never renamed, never reused.
type StepID string

// Selector says which targets a step has.
type Selector string

// The selectors. Once is the cluster as a whole: its objects, not a host.
const (
	Once                 Selector = "once"
	FirstControlPlane    Selector = "first control-plane node"
	JoiningControlPlanes Selector = "joining control-plane nodes"
	ControlPlanes        Selector = "control-plane nodes" // those that are in the cluster
	EtcdHosts            Selector = "etcd hosts"
	LoadBalancers        Selector = "load balancers"
	Workers              Selector = "workers"
)

// Verdict is the result of a check.
type Verdict string

// The verdicts. Blocked means: neither done nor safe to do now.
const (
	Satisfied Verdict = "satisfied"
	Needed    Verdict = "needed"
	Blocked   Verdict = "blocked"
)

// Before is the pre-image of a step: what Undo needs to know of the world as
// it was. It is written to the journal, so it holds no secret: a file with a
// key in it stays on its host as a backup, and Before holds where.
type Before map[string]string

// Change is one file or object that a step will change, for the plan's diff.
// Before and After are texts without secrets (digests in their place).
type Change struct {
	Object string `json:"object"` // "cp1:/etc/kubernetes/admin.conf", "ConfigMap kube-system/kube-proxy"
	Before string `json:"before"`
	After  string `json:"after"`
}

// Finding is what a check saw.
type Finding struct {
	Verdict Verdict  `json:"verdict"`
	Reason  string   `json:"reason"`            // one clause: what is true now
	Remedy  string   `json:"remedy,omitempty"`  // with Blocked: what the operator can do about it
	Before  Before   `json:"before,omitempty"`  // with Needed: the pre-image
	Changes []Change `json:"changes,omitempty"` // with Needed: what the plan shows
	// Undone: with Blocked, nothing of the step is in effect. Its way back has come
	// to its end, though the way there could not be gone again.
	Undone bool `json:"-"`
}

// Step is one change to one node, as data. V is what reading functions get,
// H what changing functions get: a Check or Verify cannot change anything
// because its argument has no method that does.
type Step[V, H any] struct {
	ID    StepID
	Title string // imperative; the same words in plan, run, status, playbook
	Why   string // one sentence for whoever is awake at 3 a.m.
	On    Selector
	Needs []StepID
	// When says with which choices the step is part of its phase; empty: with
	// all. Steps that differ by a choice share an ID where the journal knows
	// them as one, and no choice has both.
	When When
	// Rolling steps that stand next to each other with the same selector are
	// taken target by target: all of them on e1, then all of them on e2.
	Rolling bool
	// KeepGoing: a run that is asked to stop goes on past this step, because
	// the state it leaves is worse to stay in than the one before or after.
	KeepGoing bool
	// Group is a name that steps which stand next to each other share when
	// they are one change in parts: when Apply or Verify of one fails, those
	// of them that were touched are undone at once, newest first. All of
	// them have an Undo, and none is Rolling.
	Group string
	// Outage is how long the API is expected to be away during Apply;
	// 0 means that no client notices.
	Outage time.Duration
	// ByHand is what a person would do instead: Markdown with fenced
	// commands, a text/template over playbooks.Data. It is part of the
	// declaration so that the playbook cannot drift from the step list.
	ByHand string

	Check  func(context.Context, V) (Finding, error)
	Apply  func(context.Context, H, Before) error
	Verify func(context.Context, V) error
	// Undo brings back what Before tells of; afterwards Check says Needed. It
	// is called again after it failed, or was killed, at any place, and also
	// where Apply was cut before it did anything. What it would hurt to undo
	// as things are, it refuses.
	Undo func(context.Context, H, Before) error
	// OneWay says why there is no Undo. Exactly one of the two is set.
	OneWay string
	// Settle bounds the polling of Verify; expiry is an error.
	Settle time.Duration
	// WaitsFor names the program that Verify waits for: "kubelet", "etcd".
	// Empty: what Apply did is so at once.
	WaitsFor string
}

// Phase is an ordered list of steps with what must hold between any two.
type Phase[V, H any] struct {
	Number int
	Name   string // "loadbalancer"
	Title  string // "Put a load balancer in front of the API"
	Why    string
	Steps  []Step[V, H]
	// Facets are the answers that there are to each facet that is still open, the
	// usual one first. A phase is declared with the steps of all choices; For
	// answers facets, and a phase with open ones is not run.
	Facets map[Facet][]string
	// Choice are the answers that were given. The journal keeps them.
	Choice Choice
	// Also lists the hosts that some step changes, there or on its way back,
	// besides its target: who may log in to which host is decided by it.
	Also []Selector
	// Invariants checks them before and after every step; the one after a
	// step is the one before the next that begins at once. It is polled for at
	// most InvariantsSettle, since a node may be a moment late.
	Invariants       func(context.Context, V) error
	InvariantsSettle time.Duration
}

// Env binds a declaration to a real cluster.
type Env[V, H any] interface {
	// Targets lists the names of a selector's targets, in the order in which
	// they are taken. Once has the one target "cluster".
	Targets(context.Context, Selector) ([]string, error)
	// Reader is read access for a step on a target.
	Reader(target string) V
	// Writer is read and write access for a step on a target.
	Writer(target string) H
}

// LossCounter is an Env that counts the connections to hosts that were lost. What
// failed while one was lost is looked at again instead of ending the run.
type LossCounter interface {
	// Lost is the number so far. It only grows.
	Lost() int
}

// Leftovers is an Env whose hosts can go on with a command when the program
// that began it is gone.
type Leftovers interface {
	// AwaitLeftovers waits until no such command runs any more where steps on
	// the target run them. It is called before a step that was left unfinished
	// is looked at.
	AwaitLeftovers(ctx context.Context, target string) error
}

// Waiter is an Env that measures how long programs of others ran on its
// behalf, and says what a change waits for. The engine reads the one before and
// after each Apply and Undo, and listens to the other in them.
type Waiter interface {
	// Waited is the sum of all such waits so far. It only grows. Waits that
	// overlap are all counted: the reader bounds what it took.
	Waited() time.Duration
	// OnWait makes said hear what waits inside a change wait for, one call at a
	// time. With nil nobody does; no call is under way when it returns.
	OnWait(said func(error))
}
