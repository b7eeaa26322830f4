package kube

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pageSize bounds one answer of a list that may be long.
const pageSize = 500

// Values are the places in ConfigMaps and Secrets that name what was asked for.
type Values struct {
	// ConfigMaps and Secrets name the host.
	ConfigMaps, Secrets []Mention
	// EtcdUsers name the etcd, both of them.
	EtcdUsers []EtcdUser
}

// Values lists the keys whose value names a host or an address, and those that
// name an etcd. All Secrets of a cluster may be a hundred megabytes, so each
// kind is listed once for both questions, and none of it is kept: what Secrets
// hold is looked at in here, and leaves it in no way.
func (r Reader) Values(ctx context.Context, name string, e EtcdPlace) (Values, error) {
	var out Values
	see := func(list *[]Mention, m Mention, text string) {
		if NamesHost(text, name) {
			*list = append(*list, m)
		}
		if m.Object != kubeadmConfigMap && e.Names(text, false) {
			out.EtcdUsers = append(out.EtcdUsers, e.user(m, text, false))
		}
	}
	if err := r.configMapValues(ctx, func(m Mention, text string) { see(&out.ConfigMaps, m, text) }); err != nil {
		return Values{}, err
	}
	if err := r.secretValues(ctx, func(m Mention, text string) { see(&out.Secrets, m, text) }); err != nil {
		return Values{}, err
	}
	return out, nil
}

const kubeadmConfigMap = "ConfigMap kube-system/kubeadm-config"

func (r Reader) configMapValues(ctx context.Context, see func(m Mention, text string)) error {
	o := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := r.api.CoreV1().ConfigMaps("").List(ctx, o)
		if err != nil {
			return fmt.Errorf("listing ConfigMaps: %w", err)
		}
		for _, cm := range list.Items {
			for _, key := range sortedKeys(cm.Data) {
				see(Mention{"ConfigMap " + cm.Namespace + "/" + cm.Name, key}, cm.Data[key])
			}
		}
		if o.Continue = list.Continue; o.Continue == "" {
			return nil
		}
	}
}

func (r Reader) secretValues(ctx context.Context, see func(m Mention, text string)) error {
	o := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := r.api.CoreV1().Secrets("").List(ctx, o)
		if err != nil {
			return fmt.Errorf("listing Secrets: %w", err)
		}
		for _, s := range list.Items {
			for _, key := range sortedKeys(s.Data) {
				see(Mention{"Secret " + s.Namespace + "/" + s.Name, key}, string(s.Data[key]))
			}
		}
		if o.Continue = list.Continue; o.Continue == "" {
			return nil
		}
	}
}
