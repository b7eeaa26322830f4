package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How long the controllers take.
const (
	signing = time.Second
	rollOut = 2 * time.Second
)

// settleControllers does the controller manager's work: it needs one that
// runs beside a ready API server.
func (w *World) settleControllers(now time.Time) {
	runs := slices.ContainsFunc(w.all(), func(h *Host) bool {
		return len(h.running("kube-controller")) > 0 && w.reach(h, "https://"+h.address+":"+apiPort) == nil
	})
	if !runs {
		return
	}
	w.cleanTokens(now)
	w.signClusterInfo(now)
	w.rollOutDaemonSet(now)
	w.rollOutDeployment(now)
}

// tokens lists the bootstrap tokens.
func (w *World) tokens() []*corev1.Secret {
	var out []*corev1.Secret
	for _, obj := range w.objects.find("secrets", "kube-system") {
		if s, ok := obj.(*corev1.Secret); ok && s.Type == corev1.SecretTypeBootstrapToken {
			out = append(out, s)
		}
	}
	return out
}

// cleanTokens deletes expired tokens, and what they own.
func (w *World) cleanTokens(now time.Time) {
	for _, s := range w.tokens() {
		expires, err := time.Parse(time.RFC3339, string(s.Data["expiration"]))
		if err != nil || expires.After(now) {
			continue
		}
		delete(w.objects.items, objectKey{"secrets", "kube-system", s.Name})
		for key, obj := range w.objects.items {
			if refs := obj.GetOwnerReferences(); len(refs) > 0 && refs[0].UID == s.UID {
				delete(w.objects.items, key)
			}
		}
	}
}

// signClusterInfo is the bootstrap signer.
func (w *World) signClusterInfo(now time.Time) {
	cm := lookup[*corev1.ConfigMap](w.objects, "configmaps", "kube-public", "cluster-info")
	if cm == nil {
		return
	}
	want := map[string]string{"kubeconfig": cm.Data["kubeconfig"]}
	for _, s := range w.tokens() {
		if string(s.Data["usage-bootstrap-signing"]) == "true" {
			id := string(s.Data["token-id"])
			want["jws-kubeconfig-"+id] = jws(cm.Data["kubeconfig"], id, string(s.Data["token-secret"]))
		}
	}
	if maps.Equal(want, cm.Data) {
		w.signAt = time.Time{}
		return
	}
	if w.signAt.IsZero() {
		w.signAt = now.Add(signing)
	}
	if !now.Before(w.signAt) {
		cm.Data, w.signAt = want, time.Time{}
		w.stamp(cm)
	}
}

// jws signs as k8s.io/cluster-bootstrap/token/jws does, with HS256 and the
// payload left out.
func jws(content, id, secret string) string {
	encode := base64.RawURLEncoding.EncodeToString
	head := encode(fmt.Appendf(nil, `{"alg":"HS256","kid":%q}`, id))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(head + "." + encode([]byte(content))))
	return head + ".." + encode(mac.Sum(nil))
}

// rollOutDaemonSet gives every node a kube-proxy, and replaces them some time
// after their template has changed; each reads its ConfigMap when it starts.
func (w *World) rollOutDaemonSet(now time.Time) {
	ds := lookup[*appsv1.DaemonSet](w.objects, "daemonsets", "kube-system", "kube-proxy")
	if ds == nil {
		return
	}
	if ds.Generation != ds.Status.ObservedGeneration && w.proxyAt.IsZero() {
		ds.Status.ObservedGeneration, w.proxyAt = ds.Generation, now.Add(rollOut)
	}
	due := !w.proxyAt.IsZero() && !now.Before(w.proxyAt)
	nodes := w.nodesFor(ds)
	ds.Status.DesiredNumberScheduled = int32(len(nodes))
	for _, node := range nodes {
		key := objectKey{"pods", "kube-system", "kube-proxy-" + node.GetName()}
		if w.objects.items[key] != nil && !due {
			continue
		}
		delete(w.objects.items, key)
		pod := readyPod(key.name, node.GetName(), ds.Spec.Template.Labels)
		pod.Annotations = maps.Clone(ds.Spec.Template.Annotations)
		pod.OwnerReferences = controlledBy("DaemonSet", ds.Name)
		w.must(w.create("pods", pod))
	}
	if due {
		w.proxyAt = time.Time{}
		w.rollOuts = append(w.rollOuts, "kube-proxy")
		w.proxyServer = serverOf(lookup[*corev1.ConfigMap](w.objects, "configmaps", "kube-system", "kube-proxy").Data["kubeconfig.conf"])
	}
}

// nodesFor lists the nodes with the labels that a DaemonSet's pods ask for.
func (w *World) nodesFor(ds *appsv1.DaemonSet) []object {
	var out []object
	for _, node := range w.objects.find("nodes", "") {
		fits := true
		for key, value := range ds.Spec.Template.Spec.NodeSelector {
			fits = fits && node.GetLabels()[key] == value
		}
		if fits {
			out = append(out, node)
		}
	}
	return out
}

// controlledBy is the owner reference of a pod that something makes again.
func controlledBy(kind, name string) []metav1.OwnerReference {
	is := true
	return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: name, Controller: &is}}
}

func readyPod(name, node string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name, Labels: maps.Clone(labels)},
		Spec:       corev1.PodSpec{NodeName: node},
		Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
}

// rollOutDeployment replaces the CoreDNS pods and spreads them.
func (w *World) rollOutDeployment(now time.Time) {
	d := lookup[*appsv1.Deployment](w.objects, "deployments", "kube-system", "coredns")
	if d == nil || d.Generation == d.Status.ObservedGeneration {
		return
	}
	if w.coreDNSAt.IsZero() {
		w.coreDNSAt = now.Add(rollOut)
	}
	if now.Before(w.coreDNSAt) {
		return
	}
	w.coreDNSAt, d.Status.ObservedGeneration = time.Time{}, d.Generation
	w.rollOuts = append(w.rollOuts, "coredns")
	for _, obj := range w.objects.find("pods", "kube-system") {
		if obj.GetLabels()["k8s-app"] == "kube-dns" {
			delete(w.objects.items, objectKey{"pods", "kube-system", obj.GetName()})
		}
	}
	var nodes []string
	for _, obj := range w.objects.find("nodes", "") {
		if strings.HasPrefix(obj.GetName(), "w") {
			nodes = append(nodes, obj.GetName())
		}
	}
	w.placeCoreDNS(nodes...)
}

// placeCoreDNS makes the two pods.
func (w *World) placeCoreDNS(nodes ...string) {
	for i := range 2 {
		name := fmt.Sprintf("coredns-%d-%d", len(w.rollOuts), i)
		w.must(w.create("pods", readyPod(name, nodes[i%len(nodes)], map[string]string{"k8s-app": "kube-dns"})))
	}
}
