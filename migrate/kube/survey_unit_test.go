package kube

import (
	"context"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"server: https://10.0.0.1:6443":         true,
		"10.0.0.1":                              true,
		`{"value":"10.0.0.1"}`:                  true,
		"10.0.0.11":                             false,
		"110.0.0.1":                             false,
		"10.0.0.1.5":                            false,
		"Reach it at 10.0.0.1.":                 true,
		"10.0.0.11 10.0.0.12 and 10.0.0.1/24":   true,
		"":                                      false,
		"k8sServiceHost=10.0.0.1\nanother=true": true,
	} {
		if got := NamesHost(text, "10.0.0.1"); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	if NamesHost("cp1-backup mycp1 cp1.example", "cp1") || !NamesHost("http://cp1:80", "cp1") {
		t.Error("names of hosts are taken for parts of others, or not found")
	}
}

func TestMentions(t *testing.T) {
	t.Parallel()
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "n", Name: name} }
	daemons := &appsv1.DaemonSet{ObjectMeta: meta("cni")}
	daemons.Spec.Template.Spec.Containers = []corev1.Container{{Env: []corev1.EnvVar{{Name: "KUBERNETES_SERVICE_HOST", Value: "10.0.0.1"}}}}
	two := int32(2)
	api := fake.NewClientset(
		&corev1.ConfigMap{ObjectMeta: meta("a"), Data: map[string]string{"x": "10.0.0.1", "y": "10.0.0.12"}},
		&corev1.Secret{ObjectMeta: meta("b"), Data: map[string][]byte{"kubeconfig": []byte("server: https://10.0.0.1:6443, token: hidden")}},
		&appsv1.Deployment{ObjectMeta: meta("one")},
		&appsv1.Deployment{ObjectMeta: meta("two"), Spec: appsv1.DeploymentSpec{Replicas: &two}},
		&appsv1.StatefulSet{ObjectMeta: meta("db")},
		daemons,
	)
	r := NewClient(api).Reader
	ctx := context.Background()
	values, err := r.Values(ctx, "10.0.0.1", EtcdPlace{})
	if err != nil || !slices.Equal(values.ConfigMaps, []Mention{{"ConfigMap n/a", "x"}}) {
		t.Errorf("%v, %v", values.ConfigMaps, err)
	}
	if !slices.Equal(values.Secrets, []Mention{{"Secret n/b", "kubeconfig"}}) {
		t.Errorf("%v", values.Secrets)
	}
	lists := map[string]int{}
	for _, a := range api.Actions() {
		lists[a.GetVerb()+" "+a.GetResource().Resource]++
	}
	if len(lists) != 2 || lists["list secrets"] != 1 || lists["list configmaps"] != 1 {
		t.Errorf("all values of a cluster are listed once for all who ask: %v", lists)
	}
	list, err := r.Workloads(ctx)
	if err != nil || len(list) != 4 || list[0].Replicas != 1 || list[1].Replicas != 2 || list[2].String() != "StatefulSet n/db" {
		t.Fatalf("%v, %v", list, err)
	}
	named, err := WorkloadsNaming(list, "10.0.0.1")
	if err != nil || len(named) != 1 || named[0].Object != "DaemonSet n/cni" {
		t.Errorf("%v, %v", named, err)
	}
	if there, err := r.HasSecret(ctx, "n", "b"); !there || err != nil {
		t.Errorf("%t, %v", there, err)
	}
	if there, err := r.HasSecret(ctx, "n", "c"); there || err != nil {
		t.Errorf("%t, %v", there, err)
	}
}
