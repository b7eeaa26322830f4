package etcd

import (
	"context"
	"errors"
	"slices"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
)

const kubeadmConfigID = "etcd/kubeadm-config"

// kubeadmConfig turns etcd.local into etcd.external.
func kubeadmConfig() phases.Step {
	return phases.Step{
		ID:     kubeadmConfigID,
		Title:  "Set etcd.external in kubeadm-config",
		Why:    "With etcd.local left there, the next kubeadm upgrade would start the old member again, and a join would add a member of its own.",
		On:     migrate.Once,
		Needs:  []migrate.StepID{repointID},
		ByHand: "```\nkubectl -n kube-system edit cm kubeadm-config\n# etcd:\n#   external:\n#     endpoints: [{{.EtcdServers}}]\n#     caFile: /etc/kubernetes/pki/etcd/ca.crt\n#     certFile: /etc/kubernetes/pki/apiserver-etcd-client.crt\n#     keyFile: /etc/kubernetes/pki/apiserver-etcd-client.key\n```\n",
		Check: func(ctx context.Context, v phases.View) (migrate.Finding, error) {
			cc, want, err := wantedConfig(ctx, v)
			if err != nil {
				return migrate.Finding{}, err
			}
			if matches(cc, want) {
				return phases.Done("etcd.external names the members"), nil
			}
			before := cc.String()
			cc.SetExternalEtcd(want)
			f := phases.Need(migrate.Before{"ClusterConfiguration": before}, "kubeadm-config does not name the new members")
			f.Changes = []migrate.Change{{Object: "ConfigMap kube-system/kubeadm-config", Before: before, After: cc.String()}}
			return f, nil
		},
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			_, want, err := wantedConfig(ctx, h.View)
			if err != nil {
				return err
			}
			k, err := h.Kube(ctx)
			if err != nil {
				return err
			}
			return k.EditClusterConfiguration(ctx, func(cc kube.ClusterConfiguration) { cc.SetExternalEtcd(want) })
		},
		Verify: func(ctx context.Context, v phases.View) error {
			cc, want, err := wantedConfig(ctx, v)
			if err != nil {
				return err
			}
			if !matches(cc, want) {
				return errors.New("kubeadm-config does not name the new members: somebody changed it back")
			}
			return nil
		},
		OneWay: phases.NotYet,
		Settle: 10 * time.Second,
	}
}

// wantedConfig uses the files that the API server uses: they are where every
// joining node will have them, because kubeadm uploads them from there.
func wantedConfig(ctx context.Context, v phases.View) (kube.ClusterConfiguration, kube.ExternalEtcd, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return kube.ClusterConfiguration{}, kube.ExternalEtcd{}, err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return kube.ClusterConfiguration{}, kube.ExternalEtcd{}, err
	}
	files, err := v.EtcdFiles(ctx)
	if err != nil {
		return kube.ClusterConfiguration{}, kube.ExternalEtcd{}, err
	}
	want := kube.ExternalEtcd{CAFile: files.CAFile, CertFile: files.CertFile, KeyFile: files.KeyFile}
	for _, h := range v.Spec().Etcd.Hosts {
		want.Endpoints = append(want.Endpoints, clientURLOf(h))
	}
	return cc, want, nil
}

func matches(cc kube.ClusterConfiguration, want kube.ExternalEtcd) bool {
	have, ok := cc.ExternalEtcd()
	return ok && slices.Equal(have.Endpoints, want.Endpoints) &&
		have.CAFile == want.CAFile && have.CertFile == want.CertFile && have.KeyFile == want.KeyFile
}
