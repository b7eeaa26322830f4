package e2e

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

// namespace holds what the cluster is filled with before the migration.
const namespace = "e2e"

// resolverScript asks for a name for ever. The name is looked up through the
// cluster's DNS, as every pod does.
const resolverScript = `while :; do if a=$(getent hosts kubernetes.default.svc.cluster.local); then echo "ok $a"; else echo "no answer"; fi; sleep 1; done`

// workload is a Deployment of a shell script. Its image is the one image of
// the playground's nodes that has a shell: kube-proxy's.
func workload(name, image string, replicas int32, script string, volumes ...corev1.Volume) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	grace := int64(1)
	container := corev1.Container{
		Name: "main", Image: image, ImagePullPolicy: corev1.PullNever, Command: []string{"/bin/bash", "-c", script},
	}
	for _, v := range volumes {
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: v.Name, MountPath: "/mnt/" + v.Name})
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					Containers: []corev1.Container{container}, Volumes: volumes, TerminationGracePeriodSeconds: &grace,
				},
			},
		},
	}
}

// kubeProxyImage is the image that kube-proxy runs with.
func kubeProxyImage(t *testing.T, c kubernetes.Interface) string {
	t.Helper()
	ds, err := c.AppsV1().DaemonSets("kube-system").Get(soon(t), "kube-proxy", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ds.Spec.Template.Spec.Containers[0].Image
}

// makeObjects fills the cluster and waits until its pods run.
func makeObjects(t *testing.T, p *playground) (token string) {
	t.Helper()
	c := p.kube(t, p.api("cp1"))
	made := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("making %s: %v", what, err)
		}
	}
	ctx, create := t.Context(), metav1.CreateOptions{}
	_, err := c.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, create)
	made("the namespace", err)
	_, err = c.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "client"}}, create)
	made("a service account", err)
	for i := range 3 {
		meta := metav1.ObjectMeta{Name: fmt.Sprintf("before-%d", i), Namespace: namespace}
		_, err = c.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{"word": []byte(secretWord(i)), "bytes": {0, 1, 2, 0xff}}}, create)
		made("a Secret", err)
		_, err = c.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"number": fmt.Sprint(i)}}, create)
		made("a ConfigMap", err)
	}
	_, err = c.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: namespace},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, create)
	made("a Service", err)
	image := kubeProxyImage(t, c)
	for _, d := range []*appsv1.Deployment{
		workload("web", image, 2, "exec sleep infinity",
			corev1.Volume{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "before-0"}}},
			corev1.Volume{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "before-0"}}}}),
		workload("resolver", image, 1, resolverScript),
	} {
		_, err = c.AppsV1().Deployments(namespace).Create(ctx, d, create)
		made("a Deployment", err)
	}
	makeCustomResource(t, p)
	for _, name := range []string{"web", "resolver"} {
		eventually(t, 2*time.Minute, "the pods of Deployment "+name, func(ctx context.Context) error {
			return deploymentReady(ctx, c, namespace, name)
		})
	}
	seconds := int64(7200)
	answer, err := c.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, "client",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, create)
	made("a token", err)
	return answer.Status.Token
}

func secretWord(i int) string { return fmt.Sprintf("nobody-is-to-read-this-%d", i) }

// The custom resource: its objects are kept as JSON, and its definition is
// served only after the API server has built handlers for it.
var (
	crds    = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	widgets = schema.GroupVersionResource{Group: "e2e.example.com", Version: "v1", Resource: "widgets"}
)

func makeCustomResource(t *testing.T, p *playground) {
	t.Helper()
	c, err := dynamic.NewForConfig(p.restConfig(t, p.api("cp1")))
	if err != nil {
		t.Fatal(err)
	}
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "widgets." + widgets.Group},
		"spec": map[string]any{
			"group": widgets.Group, "scope": "Namespaced",
			"names": map[string]any{"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
			"versions": []any{map[string]any{
				"name": widgets.Version, "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	}}
	if _, err := c.Resource(crds).Create(soon(t), definition, metav1.CreateOptions{}); err != nil {
		t.Fatalf("making a custom resource definition: %v", err)
	}
	widget := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": widgets.Group + "/" + widgets.Version, "kind": "Widget",
		"metadata": map[string]any{"name": "before", "namespace": namespace},
		"colour":   "green",
	}}
	eventually(t, time.Minute, "the custom resource to be served", func(ctx context.Context) error {
		_, err := c.Resource(widgets).Namespace(namespace).Create(ctx, widget, metav1.CreateOptions{})
		return err
	})
}

// podsOf lists the pods of a Deployment made here, sorted by name.
func podsOf(ctx context.Context, c kubernetes.Interface, namespace, selector string) ([]corev1.Pod, error) {
	list, err := c.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return list.Items, nil
}
