package external

import (
	"context"
	"errors"
	"slices"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
)

// kubeadmConfig turns etcd.local into etcd.external.
func kubeadmConfig() phases.Step {
	return phases.Step{
		ID:     kubeadmConfigID,
		Title:  "Set etcd.external in kubeadm-config",
		Why:    "With etcd.local left there, the next kubeadm upgrade would start the old member again, and a join would add a member of its own.",
		On:     migrate.Once,
		Needs:  []migrate.StepID{repointID},
		ByHand: "```\nkubectl -n kube-system edit cm kubeadm-config\n# etcd:\n#   external:\n#     endpoints: [{{.EtcdServers}}]\n#     caFile: /etc/kubernetes/pki/etcd/ca.crt\n#     certFile: /etc/kubernetes/pki/apiserver-etcd-client.crt\n#     keyFile: /etc/kubernetes/pki/apiserver-etcd-client.key\n```\n",
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			text, want, err := wantedConfig(ctx, v)
			if err != nil {
				return migrate.Finding{}, err
			}
			cc, err := kube.ParseClusterConfiguration(text)
			if err != nil {
				return migrate.Finding{}, err
			}
			if matches(cc, want) {
				return phases.Done("etcd.external names the members"), nil
			}
			before := cc.Shown()
			cc.SetExternalEtcd(want)
			f := phases.Need(migrate.Before{clusterConfiguration: text}, "kubeadm-config does not name the new members")
			f.Changes = []migrate.Change{{Object: "ConfigMap kube-system/kubeadm-config", Before: before, After: cc.Shown()}}
			return f, nil
		},
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			_, want, err := wantedConfig(ctx, h.Reader)
			if err != nil {
				return err
			}
			k, err := h.Kube(ctx)
			if err != nil {
				return err
			}
			return k.EditClusterConfiguration(ctx, func(cc kube.ClusterConfiguration) { cc.SetExternalEtcd(want) })
		},
		Verify: func(ctx context.Context, v phases.Reader) error {
			text, want, err := wantedConfig(ctx, v)
			if err != nil {
				return err
			}
			cc, err := kube.ParseClusterConfiguration(text)
			if err != nil {
				return err
			}
			if !matches(cc, want) {
				return errors.New("kubeadm-config does not name the new members: somebody changed it back")
			}
			return nil
		},
		Undo:   undoKubeadmConfig,
		Settle: 10 * time.Second,
	}
}

// clusterConfiguration is the key in the ConfigMap and in Before.
const clusterConfiguration = "ClusterConfiguration"

// wantedConfig returns what is there as well. It uses the files that the API
// server uses: they are where every joining node will have them, because
// kubeadm uploads them from there.
func wantedConfig(ctx context.Context, v phases.Reader) (text string, want kube.ExternalEtcd, err error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return "", want, err
	}
	cm, err := k.ConfigMap(ctx, "kube-system", "kubeadm-config")
	if err != nil {
		return "", want, err
	}
	files, err := v.EtcdFiles(ctx)
	if err != nil {
		return "", want, err
	}
	want = kube.ExternalEtcd{CAFile: files.CAFile, CertFile: files.CertFile, KeyFile: files.KeyFile}
	want.Endpoints = Topology{}.Servers(v.Spec(), v.First().Name)
	return cm.Data[clusterConfiguration], want, nil
}

// undoKubeadmConfig brings the text of before back, or its etcd section alone
// where kubeadm or somebody has edited the rest meanwhile.
func undoKubeadmConfig(ctx context.Context, h phases.Writer, before migrate.Before) error {
	old := before[clusterConfiguration]
	if old == "" {
		return errors.New("the journal does not say what kubeadm-config was before: put etcd.local back with `kubectl -n kube-system edit cm kubeadm-config`, and roll back again")
	}
	now, want, err := wantedConfig(ctx, h.Reader)
	if err != nil {
		return err
	}
	text, err := withoutExternal(now, old, want)
	if err != nil || text == now {
		return err
	}
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	return k.EditConfigMap(ctx, "kube-system", "kubeadm-config", func(data map[string]string) (err error) {
		data[clusterConfiguration], err = withoutExternal(data[clusterConfiguration], old, want)
		return err
	})
}

// withoutExternal is now with the etcd section of old. One that is neither of
// before nor ours is somebody's decision: a kubeadm upgrade would act on it.
func withoutExternal(now, old string, want kube.ExternalEtcd) (string, error) {
	cc, err := kube.ParseClusterConfiguration(now)
	if err != nil {
		return "", err
	}
	made, err := kube.ParseClusterConfiguration(old)
	if err != nil {
		return "", err
	}
	same := cc.String()
	have, external := cc.ExternalEtcd()
	cc.SetEtcdOf(made)
	made.SetExternalEtcd(want)
	switch {
	case made.String() == now:
		return old, nil
	case cc.String() == same:
		return now, nil
	case !external || !slices.Equal(have.Endpoints, want.Endpoints):
		return "", errors.New("the etcd section of kubeadm-config was changed by somebody else meanwhile and is left as it is: put etcd.local back with `kubectl -n kube-system edit cm kubeadm-config`, and roll back again")
	}
	return cc.String(), nil
}

func matches(cc kube.ClusterConfiguration, want kube.ExternalEtcd) bool {
	have, ok := cc.ExternalEtcd()
	return ok && slices.Equal(have.Endpoints, want.Endpoints) &&
		have.CAFile == want.CAFile && have.CertFile == want.CertFile && have.KeyFile == want.KeyFile
}
