package main

import (
	"hamigrate/phases"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
)

// allPhases is the migration, in order.
func allPhases(s phases.Strategy) []phases.Phase {
	return []phases.Phase{loadbalancer.Phase(), etcd.Phase(s), controlplane.Phase()}
}
