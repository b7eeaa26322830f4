// Package migration is the list of the phases, in order, for each strategy.
package migration

import (
	"hamigrate/phases"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
)

// Phases are the migration, in order.
func Phases(s phases.Strategy) []phases.Phase {
	return []phases.Phase{loadbalancer.Phase(), etcd.Phase(s), controlplane.Phase()}
}
