package loadbalancer

import (
	"context"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
)

// kubeadmConfig tells kubeadm of the endpoint, for joins and upgrades to come.
func kubeadmConfig() phases.Step {
	return phases.Step{
		ID:    "loadbalancer/kubeadm-config",
		Title: "Set controlPlaneEndpoint and certSANs in kubeadm-config",
		Why:   "Joins and upgrades write files from it: without this the next upgrade would undo the certificate, and no control-plane node could join.",
		On:    migrate.Once,
		Needs: []migrate.StepID{nginxStreamID},
		ByHand: "```\nkubectl -n kube-system edit cm kubeadm-config\n" +
			"# controlPlaneEndpoint: {{.Endpoint}}\n# apiServer.certSANs: add the endpoint's host and the load balancer's address\n```\n",
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			k, err := v.Kube(ctx)
			if err != nil {
				return migrate.Finding{}, err
			}
			cc, err := k.ClusterConfiguration(ctx)
			if err != nil {
				return migrate.Finding{}, err
			}
			before := cc.String()
			if !editEndpoint(cc, v) {
				return phases.Done("controlPlaneEndpoint is %s", v.EndpointAddress()), nil
			}
			f := phases.Need(migrate.Before{"ClusterConfiguration": before}, "kubeadm-config does not name the endpoint")
			f.Changes = []migrate.Change{{Object: "ConfigMap kube-system/kubeadm-config", Before: before, After: cc.String()}}
			return f, nil
		},
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			k, err := h.Kube(ctx)
			if err != nil {
				return err
			}
			return k.EditClusterConfiguration(ctx, func(cc kube.ClusterConfiguration) { editEndpoint(cc, h.View) })
		},
		Verify: func(ctx context.Context, v phases.View) error {
			k, err := v.Kube(ctx)
			if err != nil {
				return err
			}
			cc, err := k.ClusterConfiguration(ctx)
			if err != nil {
				return err
			}
			if editEndpoint(cc, v) {
				return fmt.Errorf("kubeadm-config does not hold the endpoint and its names: somebody changed it back")
			}
			return nil
		},
		OneWay: phases.NotYet,
		Settle: 10 * time.Second,
	}
}

// editEndpoint makes the edit and says whether there was one to make.
func editEndpoint(cc kube.ClusterConfiguration, v phases.View) bool {
	changed := cc.AddCertSANs(wantedNames(v)...)
	if cc.ControlPlaneEndpoint() != v.EndpointAddress() {
		cc.SetControlPlaneEndpoint(v.EndpointAddress())
		changed = true
	}
	return changed
}
