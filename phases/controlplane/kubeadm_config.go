package controlplane

import (
	"context"
	"errors"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
)

const kubeadmConfigID = "controlplane/kubeadm-config"

// kubeadmConfig takes the first node's own address out of what all nodes
// share: kubeadm join renders each API server's arguments from kubeadm-config
// (kubernetes/kubeadm#3175).
func kubeadmConfig() phases.Step {
	check := func(ctx context.Context, v phases.View) (migrate.Finding, error) {
		k, err := v.Kube(ctx)
		if err != nil {
			return migrate.Finding{}, err
		}
		cc, err := k.ClusterConfiguration(ctx)
		if err != nil {
			return migrate.Finding{}, err
		}
		before := cc.String()
		if !cc.DropAdvertiseAddress() {
			return phases.Done("kubeadm-config holds no advertise-address"), nil
		}
		f := phases.Need(migrate.Before{"ClusterConfiguration": before}, "kubeadm-config holds the first node's advertise-address for all")
		f.Changes = []migrate.Change{{Object: "ConfigMap kube-system/kubeadm-config", Before: before, After: cc.String()}}
		return f, nil
	}
	return phases.Step{
		ID:     kubeadmConfigID,
		Title:  "Take the advertise-address out of kubeadm-config",
		Why:    "Every joined API server would announce the first node's address and the kubernetes Service would break.",
		On:     migrate.Once,
		ByHand: "```\nkubectl -n kube-system edit cm kubeadm-config    # apiServer.extraArgs: no advertise-address\n```\n",
		Check:  check,
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			k, err := h.Kube(ctx)
			if err != nil {
				return err
			}
			return k.EditClusterConfiguration(ctx, func(cc kube.ClusterConfiguration) { cc.DropAdvertiseAddress() })
		},
		Verify: func(ctx context.Context, v phases.View) error {
			f, err := check(ctx, v)
			if err == nil && f.Verdict != migrate.Satisfied {
				err = errors.New(f.Reason)
			}
			return err
		},
		OneWay: phases.NotYet,
		Settle: 10 * time.Second,
	}
}
