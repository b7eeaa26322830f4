package main

import (
	"hamigrate/phases"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
)

// declaredPhases is the migration, in order, with the steps of all choices.
func declaredPhases() []phases.Phase {
	return []phases.Phase{loadbalancer.Phase(), etcd.Phase(), controlplane.Phase()}
}

// allPhases is the migration with a strategy.
func allPhases(s phases.Strategy) []phases.Phase {
	list := declaredPhases()
	for i, p := range list {
		list[i] = p.For(s.Choice())
	}
	return list
}
