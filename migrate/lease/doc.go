// Package lease is the cluster lease: an object in the cluster that says who migrates it.
// It is advice to other operators, and no lock: every step looks before it acts, whoever
// holds the lease. Nothing that goes wrong with it stops a run, but another holder.
package lease
