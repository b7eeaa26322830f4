// Package migration is the list of the phases, in order, for each strategy.
package migration

import (
	"maps"

	"hamigrate/migrate/cluster"
	"hamigrate/phases"
	"hamigrate/phases/balancers"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
)

// Declared is the migration, in order, with the steps of all choices.
func Declared() []phases.Phase {
	return []phases.Phase{loadbalancer.Phase(), etcd.Phase(), controlplane.Phase()}
}

// Phases is the migration with a strategy. What depends on the spec is open: it can
// be named and listed, and not be done.
func Phases(s phases.Strategy) []phases.Phase {
	list := Declared()
	for i, p := range list {
		list[i] = p.For(s.Choice())
	}
	return list
}

// Of is the migration that a spec asks for, with a strategy.
func Of(spec cluster.Spec, s phases.Strategy) []phases.Phase {
	choice := s.Choice()
	maps.Copy(choice, balancers.Choice(spec))
	list := Declared()
	for i, p := range list {
		list[i] = p.For(choice)
	}
	return list
}
