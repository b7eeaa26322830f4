// Package conformance holds the steps of every phase to what the engine relies on,
// over the cluster in memory of package simulator.
//
// Its own tests are those of all phases together: the laws of a step (Law), and
// the crash matrix, which kills the operator's program before and after each of
// its changes and starts it again (Death). What they are made of is exported: a
// phase's own tests, beside its code, begin at some point of a migration (On,
// Stage), are killed or failed anywhere, and compare the ends.
//
// A matrix takes all instants, or with -short a sample (Share).
package conformance
