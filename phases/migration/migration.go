// Package migration is the list of the phases, in order, for each strategy.
package migration

import (
	"hamigrate/phases"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
)

// Declared is the migration, in order, with the steps of all choices.
func Declared() []phases.Phase {
	return []phases.Phase{loadbalancer.Phase(), etcd.Phase(), controlplane.Phase()}
}

// Phases is the migration with a strategy.
func Phases(s phases.Strategy) []phases.Phase {
	list := Declared()
	for i, p := range list {
		list[i] = p.For(s.Choice())
	}
	return list
}
