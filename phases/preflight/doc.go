// Package preflight looks, before a phase begins, for what is known to stop
// or to hurt it: numbered, named checks on every host side by side, each with
// what was seen, why it matters, and the remedy.
//
// The checks are data (checks.go), and `migrate preflight`, `migrate run` and
// docs/preflight.md read that one list. What a check needs to know of a host
// is read by one command a host (facts.go), over the one connection that the
// session keeps to it. Checks look, through a Reader; the few that have to make
// something for a moment, a file to sync or a port to listen on, get Writer,
// are marked as such, and are left out where a phase is about to begin.
package preflight
