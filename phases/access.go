package phases

import (
	"context"
	"fmt"
	"strings"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
)

// View is what Check and Verify get: it can look at everything and change
// nothing.
type View struct {
	world  *World
	target string
}

// Hands is what Apply and Undo get.
type Hands struct{ View }

// World binds other targets; a step that needs a neighbour's view uses it.
func (v View) World() *World { return v.world }

// Spec is the spec the run is for.
func (v View) Spec() cluster.Spec { return v.world.spec }

// Target is the name of the host the step is for, or "cluster".
func (v View) Target() string { return v.target }

// Self is the target's entry in the spec.
func (v View) Self() cluster.Host {
	h, err := v.world.host(v.target)
	if err != nil {
		return cluster.Host{Name: v.target}
	}
	return h
}

// First is the first control-plane node.
func (v View) First() cluster.Host { return v.world.spec.ControlPlane.First }

// Workers lists the workers.
func (v View) Workers(ctx context.Context) ([]cluster.Host, error) { return v.world.findWorkers(ctx) }

// On is a host by name, for looking. It connects on first use.
func (v View) On(name string) remote.Reader { return lazyHost{v.world, name} }

// On is a host by name, for changing. It connects on first use.
func (h Hands) On(name string) remote.Host { return lazyHost{h.world, name} }

// EndpointURL is the new control-plane endpoint as a kubeconfig names it.
func (v View) EndpointURL() string { return "https://" + v.EndpointAddress() }

// EndpointAddress is the endpoint as host:port.
func (v View) EndpointAddress() string {
	e := v.Spec().Endpoint
	host := e.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, e.Port)
}
