package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// HasSecret says whether a Secret is there.
func (r Reader) HasSecret(ctx context.Context, namespace, name string) (bool, error) {
	_, err := r.api.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading Secret %s/%s: %w", namespace, name, err)
	}
	return true, nil
}

// Workload is a Deployment, a StatefulSet or a DaemonSet, as far as somebody
// asks what its pods need to run.
type Workload struct {
	Kind, Namespace, Name string
	// Replicas are those that are wanted; of a DaemonSet 0.
	Replicas int
	Selector *metav1.LabelSelector
	Pods     corev1.PodTemplateSpec
}

// String is "Deployment namespace/name".
func (w Workload) String() string { return w.Kind + " " + w.Namespace + "/" + w.Name }

// Workloads lists those of all namespaces.
func (r Reader) Workloads(ctx context.Context) ([]Workload, error) {
	var out []Workload
	all := metav1.ListOptions{}
	err := each(ctx, "Deployments", all, r.api.AppsV1().Deployments("").List, func(d *appsv1.Deployment) {
		out = append(out, Workload{"Deployment", d.Namespace, d.Name, wantedReplicas(d.Spec.Replicas), d.Spec.Selector, d.Spec.Template})
	})
	if err != nil {
		return nil, err
	}
	err = each(ctx, "StatefulSets", all, r.api.AppsV1().StatefulSets("").List, func(s *appsv1.StatefulSet) {
		out = append(out, Workload{"StatefulSet", s.Namespace, s.Name, wantedReplicas(s.Spec.Replicas), s.Spec.Selector, s.Spec.Template})
	})
	if err != nil {
		return nil, err
	}
	err = each(ctx, "DaemonSets", all, r.api.AppsV1().DaemonSets("").List, func(d *appsv1.DaemonSet) {
		out = append(out, Workload{"DaemonSet", d.Namespace, d.Name, 0, d.Spec.Selector, template(*d)})
	})
	return out, err
}

func template(d appsv1.DaemonSet) corev1.PodTemplateSpec { return d.Spec.Template }

// wantedReplicas is 1 where nothing is said (apps/v1: the default).
func wantedReplicas(n *int32) int {
	if n == nil {
		return 1
	}
	return int(*n)
}

// Mention is a place where a word stands: never the text around it.
type Mention struct{ Object, Key string }

// String is "ConfigMap namespace/name, key".
func (m Mention) String() string { return m.Object + ", " + m.Key }

// WorkloadsNaming lists the workloads whose pods are told a host or an address
// by an argument, a variable or an alias.
func WorkloadsNaming(list []Workload, name string) ([]Mention, error) {
	var out []Mention
	for _, w := range list {
		data, err := json.Marshal(w.Pods.Spec)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", w, err)
		}
		if NamesHost(string(data), name) {
			out = append(out, Mention{w.String(), "pod template"})
		}
	}
	return out, nil
}

// LeaderLeases counts the Leases outside of kube-system and kube-node-lease
// that somebody holds: programs that write to the API every few seconds.
func (r Reader) LeaderLeases(ctx context.Context) (int, error) {
	n := 0
	err := each(ctx, "Leases", metav1.ListOptions{}, r.api.CoordinationV1().Leases("").List, func(l *coordinationv1.Lease) {
		if l.Namespace != "kube-system" && l.Namespace != corev1.NamespaceNodeLease && l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity != "" {
			n++
		}
	})
	return n, err
}

// NamesHost says whether a text names a host or an address: 10.0.0.1 is not in
// 10.0.0.11, nor cp1 in cp1-backup.
func NamesHost(text, name string) bool {
	if name == "" {
		return false
	}
	for from := 0; ; {
		at := strings.Index(text[from:], name)
		if at < 0 {
			return false
		}
		at += from
		before, after := text[:at], text[at+len(name):]
		if !endsInWord(before) && !beginsWord(after) {
			return true
		}
		from = at + 1
	}
}

const wordBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

// endsInWord: a dot before a name makes it the end of a longer one.
func endsInWord(s string) bool { return s != "" && strings.IndexByte(wordBytes+".", s[len(s)-1]) >= 0 }

// beginsWord: a dot behind a name belongs to it where more of a name follows.
func beginsWord(s string) bool {
	s = strings.TrimPrefix(s, ".")
	return s != "" && strings.IndexByte(wordBytes, s[0]) >= 0
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
