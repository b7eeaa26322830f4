// Package run carries out what a command asks for: it plans, runs, goes on after a stop,
// takes back, rebuilds a journal, renews certificates and restores.
//
// A Session is the work on one cluster: its spec, the journal's place and the
// connections. Options say what is done; nothing here knows of a command line. Who
// is asked and told is behind small interfaces: Operator, Prober, Listener. Each
// function returns an error, and OutcomeOf says how a command ended by it.
//
// All work on a cluster goes through one runner (runner.go): its steps are timed, and
// it stops when the operator asks, when another run takes the cluster, or when
// clients are disturbed.
package run
