package simulator

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hamigrate/migrate/remote"
)

// Root runs a script on a machine as somebody else's root would: it is no
// operation of the operator's program, and no fault strikes it. Tests arrange
// accidents with it.
func (w *World) Root(host, script string) error {
	w.settle()
	out, err := w.hosts[host].shell(w.memo.waiting(script), nil)
	w.mu.Lock()
	w.dirty = true
	w.mu.Unlock()
	w.settle()
	if err != nil {
		return fmt.Errorf("on %s: %w (%s)", host, err, out)
	}
	return nil
}

// Carry puts a file of one machine into the place of another one's, as somebody
// with root's rights on both might.
func (w *World) Carry(from, file, to, as string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirty = true
	w.hosts[to].put(as, w.hosts[from].read(file), 0o640, "root:etcd")
}

// Cut lets no connection be made between two machines, or again.
func (w *World) Cut(a, b string, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirty = true
	w.cuts = maps.Clone(w.cuts)
	if w.cuts == nil {
		w.cuts = map[[2]string]bool{}
	}
	w.cuts[pairOf(a, b)] = cut
}

// Silence is Cut by something that throws packets away: who connects gets no
// answer, and waits.
func (w *World) Silence(a, b string, silent bool) {
	w.Cut(a, b, silent)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = map[[2]string]bool{pairOf(a, b): silent}
}

// Place puts a pod of a ReplicaSet's on a node, or one that nothing makes again.
func (w *World) Place(name, node string, controlled bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pod := readyPod(name, node, map[string]string{"app": name})
	if controlled {
		pod.OwnerReferences = controlledBy("ReplicaSet", name)
	}
	w.must(w.create("pods", pod))
}

// EndIn signs a certificate of etcd's CA, beside its key, again: it ends after
// so many days, and has more names. pair is the path of both without what they
// end with.
func (w *World) EndIn(host, pair string, days int, names ...string) error {
	h, cp := w.hosts[host], w.hosts[w.Spec.ControlPlane.First.Name]
	w.mu.Lock()
	defer w.mu.Unlock()
	ca, err := parseAuthority(cp.read("/etc/kubernetes/pki/etcd/ca.crt"), cp.read("/etc/kubernetes/pki/etcd/ca.key"))
	if err != nil {
		return err
	}
	t, err := parseCert(h.read(pair + ".crt"))
	if err != nil {
		return err
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return err
	}
	t.DNSNames = append(t.DNSNames, names...)
	t.NotAfter = time.Now().Add(time.Duration(days) * 24 * time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, t.PublicKey, ca.key)
	if err != nil {
		return err
	}
	h.Put(remote.File{Path: pair + ".crt", Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), Mode: 0o644, Owner: "root:root"})
	return nil
}

// Unready lets the pods of kube-system whose names begin so fail their probes.
func (w *World) Unready(prefix string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, obj := range w.objects.find("pods", "kube-system") {
		if p, ok := obj.(*corev1.Pod); ok && strings.HasPrefix(p.Name, prefix) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
		}
	}
}

// Scale sets how many CoreDNS pods there are to be, and removes those that are
// more.
func (w *World) Scale(replicas int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lookup[*appsv1.Deployment](w.objects, "deployments", "kube-system", "coredns").Spec.Replicas = &replicas
	n := int32(0)
	for _, obj := range w.objects.find("pods", "kube-system") {
		if obj.GetLabels()["k8s-app"] != "kube-dns" {
			continue
		}
		if n++; n > replicas {
			w.must(w.delete("pods", "kube-system", obj.GetName()))
		}
	}
}

// Mirror makes the pod that stands in the API for a static one, as kubeadm
// labels it.
func (w *World) Mirror(component, node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.must(w.create("pods", readyPod(component+"-"+node, node, map[string]string{"component": component})))
}

// Alarm lets etcd raise an alarm ("NOSPACE"), or take it back ("").
func (w *World) Alarm(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.store().alarm = name
}

// Ail makes the API servers ill whose arguments are so: they end at their
// start, or they run and never become ready. Nil: all are well.
func (w *World) Ail(ill func(flags map[string]string) bool, atStart bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirty, w.ill, w.illAtStart = true, ill, atStart
}

// PutSecret makes a Secret of somebody's in the default namespace.
func (w *World) PutSecret(name, key, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.must(w.create("secrets", &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string][]byte{key: []byte(value)}}))
}

// HoldLease makes a Lease that a program of somebody's holds.
func (w *World) HoldLease(namespace, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.must(w.create("leases", &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &name}}))
}

// Remove deletes an object as somebody else would.
func (w *World) Remove(resource, namespace, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.must(w.delete(resource, namespace, name))
}
