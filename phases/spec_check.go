package phases

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"hamigrate/migrate/kube"
)

// CheckSpec says, before anything is changed, where the spec does not fit the
// cluster: names and addresses that the steps go by must be the cluster's own.
func CheckSpec(ctx context.Context, v Reader) error {
	first := v.First()
	if ip := net.ParseIP(first.Address); ip == nil || ip.To4() == nil {
		return fmt.Errorf("spec.controlPlane.first.address %s: only IPv4 is handled so far", first.Address)
	}
	nodes, err := v.Nodes(ctx)
	if err != nil {
		return err
	}
	if n, ok := nodes[first.Name]; !ok || !kube.IsControlPlane(n) {
		return fmt.Errorf("spec.controlPlane.first.name %s: the cluster has no control-plane node of that name; `kubectl get nodes` lists them", first.Name)
	}
	var others []string
	for name, n := range nodes {
		if kube.IsControlPlane(n) && name != first.Name && !slices.Contains(names(v.Spec().ControlPlane.Joining), name) {
			others = append(others, name)
		}
	}
	if len(others) > 0 {
		slices.Sort(others)
		return fmt.Errorf("the cluster has control-plane nodes that the spec does not name: %s; this tool migrates clusters with one", strings.Join(others, ", "))
	}
	p, running, err := v.APIServer(ctx, first.Name)
	if err != nil || !running {
		return err
	}
	if advertised, ok := p.Flags.Get("advertise-address"); ok && advertised != first.Address {
		return fmt.Errorf("spec.controlPlane.first.address %s: the API server advertises %s; write that one, and put another way for SSH into its ssh block", first.Address, advertised)
	}
	return nil
}
