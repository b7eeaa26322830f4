// Package migrate is the engine: a phase is a list of steps, and plan, run,
// rollback, the playbooks and the report all read that one list.
//
// The engine knows no SSH, etcd, Kubernetes or command line. Its duties, in
// the order in which it does them for each step on each target:
//
//  1. Check looks at the world. The world decides what is done, the journal
//     only says what we believed and what was there before.
//  2. The phase's invariants must hold.
//  3. "started" and the pre-image are committed to the journal BEFORE the
//     first remote command. A pre-image is never overwritten by a retry. A
//     copy of it goes to the cluster's side (PreImageStore), from which Adopt rebuilds
//     a journal that was lost.
//  4. Apply, then "applied" is committed.
//  5. Verify is polled until it agrees or the step's time is over, then
//     "verified" is committed. Time that is over is an error.
//  6. They must hold again. They are checked beside the first attempt of Verify,
//     and where that does not hold, or is old when Verify agrees, after it.
//
// A step found satisfied at first sight is recorded as such and never undone.
// A step found "started" on resume has an unknown outcome: it is checked, and
// applied again with the pre-image of the first time. Where the world says
// that it is done, it is verified and keeps that pre-image. Duty 2 is waived
// for a step that was left unfinished: it may itself be what breaks the
// invariants, and finishing it what mends them. Duty 6 never is.
//
// Steps may form a step group (Step.Group): one change in parts, such as the
// restart of an API server behind a second one. When Apply or Verify of one of
// them fails, the run takes those that were touched back at once, newest
// first: "undoing" is committed before the first command, Undo is called, the
// step's Check is polled until it says that the step is still to be done, and
// "undone" is committed. Then the invariants must hold. The run ends with the
// error of the step and what became of the others (Unwound); running again
// begins the step group again. Nothing is undone where a step was blocked,
// the run was stopped or interrupted, or only the invariants do not hold.
// Killed on the way back, the next run goes forward again: it looks first.
//
// The invariants are also asked for before the first step of a phase. A run
// that is told to stop finishes the change at hand and does not wait for what
// it leads to, unless the step is no place to stop (KeepGoing, a step group, an
// outage): it is "applied" then, and the next run verifies it. One whose context
// ends stops at once and leaves the step's outcome unknown.
package migrate
