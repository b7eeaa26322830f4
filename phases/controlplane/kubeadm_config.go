package controlplane

import (
	"context"
	"errors"
	"fmt"
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
		before := cc.Shown()
		if !cc.DropAdvertiseAddress() {
			return phases.Done("kubeadm-config holds no advertise-address"), nil
		}
		f := phases.Need(migrate.Before{"ClusterConfiguration": before}, "kubeadm-config holds the first node's advertise-address for all")
		f.Changes = []migrate.Change{{Object: "ConfigMap kube-system/kubeadm-config", Before: before, After: cc.Shown()}}
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
		Undo:   undoKubeadmConfig,
		Settle: 10 * time.Second,
	}
}

// undoKubeadmConfig puts the text of before back. Where kubeadm-config has got
// other changes since, it would lose them, and refuses.
func undoKubeadmConfig(ctx context.Context, h phases.Hands, before migrate.Before) error {
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	const key = "ClusterConfiguration"
	old, err := kube.ParseClusterConfiguration(before[key])
	if err != nil {
		return fmt.Errorf("reading kubeadm-config of before: %w", err)
	}
	old.DropAdvertiseAddress()
	now, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return err
	}
	if now.String() == before[key] {
		return nil
	}
	return k.EditConfigMap(ctx, "kube-system", "kubeadm-config", func(data map[string]string) error {
		if data[key] == before[key] {
			return nil // an attempt whose answer was lost has done it
		}
		now, err := kube.ParseClusterConfiguration(data[key])
		if err != nil {
			return err
		}
		if now.String() != old.String() {
			return errors.New("it was changed since the step took advertise-address out: put that back into apiServer.extraArgs with `kubectl -n kube-system edit cm kubeadm-config`, and roll back again")
		}
		data[key] = before[key]
		return nil
	})
}
