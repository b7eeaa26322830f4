package kube

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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
	return each(ctx, "ConfigMaps", metav1.ListOptions{}, r.api.CoreV1().ConfigMaps("").List, func(cm *corev1.ConfigMap) {
		for _, key := range sortedKeys(cm.Data) {
			see(Mention{"ConfigMap " + cm.Namespace + "/" + cm.Name, key}, cm.Data[key])
		}
	})
}

func (r Reader) secretValues(ctx context.Context, see func(m Mention, text string)) error {
	return each(ctx, "Secrets", metav1.ListOptions{}, r.api.CoreV1().Secrets("").List, func(s *corev1.Secret) {
		for _, key := range sortedKeys(s.Data) {
			see(Mention{"Secret " + s.Namespace + "/" + s.Name, key}, string(s.Data[key]))
		}
	})
}
