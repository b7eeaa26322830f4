package phases

import (
	"context"
	"fmt"
	"strings"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
)

// Reader is what Check and Verify get: it can look at everything and change
// nothing.
type Reader struct {
	access *Access
	target string
}

// Writer is what Apply and Undo get.
type Writer struct{ Reader }

// Access binds other targets; a step that needs a neighbour's view uses it.
func (v Reader) Access() *Access { return v.access }

// Spec is the spec the run is for.
func (v Reader) Spec() cluster.Spec { return v.access.spec }

// Target is the name of the host the step is for, or "cluster".
func (v Reader) Target() string { return v.target }

// Self is the target's entry in the spec.
func (v Reader) Self() cluster.Host {
	h, err := v.access.host(v.target)
	if err != nil {
		return cluster.Host{Name: v.target}
	}
	return h
}

// First is the first control-plane node.
func (v Reader) First() cluster.Host { return v.access.spec.ControlPlane.First }

// Workers lists the workers.
func (v Reader) Workers(ctx context.Context) ([]cluster.Host, error) {
	return v.access.findWorkers(ctx)
}

// On is a host by name, for looking. It connects on first use.
func (v Reader) On(name string) remote.Reader { return lazyHost{v.access, name} }

// On is a host by name, for changing. It connects on first use.
func (h Writer) On(name string) remote.Host { return lazyHost{h.access, name} }

// EndpointURL is the new control-plane endpoint as a kubeconfig names it.
func (v Reader) EndpointURL() string { return "https://" + v.EndpointAddress() }

// EndpointAddress is the endpoint as host:port.
func (v Reader) EndpointAddress() string {
	e := v.Spec().Endpoint
	host := e.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, e.Port)
}
