package simulator

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What other people do to the objects of their cluster.

// PutConfigMap makes a ConfigMap of somebody's.
func (w *World) PutConfigMap(namespace, name string, data map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.must(w.create("configmaps", &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data}))
}

// PutDaemonSet makes a DaemonSet of somebody's with one container.
func (w *World) PutDaemonSet(namespace, name string, c corev1.Container) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ds := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	ds.Spec.Template.Spec.Containers = []corev1.Container{c}
	w.must(w.create("daemonsets", ds))
}

// EditKubeProxy changes kube-proxy's DaemonSet, and removes the pods that it
// wants no more.
func (w *World) EditKubeProxy(edit func(*appsv1.DaemonSet)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirty = true
	ds := lookup[*appsv1.DaemonSet](w.objects, "daemonsets", "kube-system", "kube-proxy")
	edit(ds)
	wanted := w.nodesFor(ds)
	ds.Status.DesiredNumberScheduled = int32(len(wanted))
	on := map[string]bool{}
	for _, node := range wanted {
		on[node.GetName()] = true
	}
	for _, obj := range w.objects.find("pods", "kube-system") {
		if p, ok := obj.(*corev1.Pod); ok && p.Labels["k8s-app"] == "kube-proxy" && !on[p.Spec.NodeName] {
			w.must(w.delete("pods", p.Namespace, p.Name))
		}
	}
}

// EditPods changes the pods of kube-system for which edit is called.
func (w *World) EditPods(edit func(*corev1.Pod)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirty = true
	for _, obj := range w.objects.find("pods", "kube-system") {
		if p, ok := obj.(*corev1.Pod); ok {
			edit(p)
		}
	}
}

// EditCoreDNS changes CoreDNS's Deployment.
func (w *World) EditCoreDNS(edit func(*appsv1.Deployment)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirty = true
	edit(lookup[*appsv1.Deployment](w.objects, "deployments", "kube-system", "coredns"))
}

// EditNode changes a Node.
func (w *World) EditNode(name string, edit func(*corev1.Node)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirty = true
	edit(w.node(name))
}

// PutNode registers a Node that no host of the spec is.
func (w *World) PutNode(name, address string, ready bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirty = true
	w.must(w.register(name, address, false))
	setReady(w.node(name), ready)
}

// RenameNode lets a Node be known by another name than its host, as with the
// kubelet's --hostname-override.
func (w *World) RenameNode(from, to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirty = true
	n := w.node(from)
	delete(w.objects.items, objectKey{"nodes", "", from})
	n.Name = to
	w.objects.items[objectKey{"nodes", "", to}] = n
}
