package initspec

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hamigrate/migrate/etcd"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
)

// fake is a cluster as Look sees it.
type fake struct {
	host   *remotetest.Fake
	nodes  map[string]corev1.Node
	config string
	noMap  bool
	down   bool
	etcd   etcd.Look
}

func (f *fake) Kube(_ context.Context, address string) (API, error) {
	if address != "10.0.0.11:6443" {
		return nil, fmt.Errorf("asked %s", address)
	}
	return f, nil
}
func (f *fake) Etcd(context.Context, string) (etcd.Look, error)       { return f.etcd, nil }
func (f *fake) Version() (string, error)                              { return "v1.36.3", nil }
func (f *fake) Nodes(context.Context) (map[string]corev1.Node, error) { return f.nodes, nil }
func (f *fake) ClusterConfiguration(context.Context) (kube.ClusterConfiguration, error) {
	switch {
	case f.down:
		return kube.ClusterConfiguration{}, errors.New("connection refused")
	case f.noMap:
		return kube.ClusterConfiguration{}, fmt.Errorf("reading: %w", apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, "kubeadm-config"))
	}
	return kube.ParseClusterConfiguration(f.config)
}

func madeNode(name string, labels map[string]string, addresses ...string) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	n.Status.NodeInfo.KubeletVersion = "v1.36.3"
	for _, a := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	return n
}

func controlPlaneNode(name, address string) corev1.Node {
	return madeNode(name, map[string]string{"node-role.kubernetes.io/control-plane": ""}, address)
}

// newFake is a plain cluster: cp1 and w1.
func newFake() *fake {
	manifest := func(flags ...string) []byte {
		return []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: x\n    command: [x, " + strings.Join(flags, ", ") + "]\n")
	}
	host := remotetest.New("cp1")
	host.Put(remote.File{Path: apiManifest, Data: manifest("--advertise-address=10.0.0.11", "--secure-port=6443")})
	host.Put(remote.File{Path: etcdManifest, Data: manifest("--listen-client-urls=https://127.0.0.1:2379", "--data-dir=/var/lib/etcd")})
	host.Put(remote.File{Path: adminConf, Data: []byte("x")})
	return &fake{
		host:   host,
		nodes:  map[string]corev1.Node{"cp1": controlPlaneNode("cp1", "10.0.0.11"), "w1": madeNode("w1", nil, "10.0.0.31")},
		config: "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nclusterName: Flag_Ship\nnetworking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12}\n",
		etcd: etcd.Look{
			Members: []etcd.Member{{Name: "cp1", PeerURLs: []string{"https://127.0.0.1:2380"}}},
			Answers: []etcd.Answer{{Host: "cp1", Status: etcd.Status{Version: "3.6.5", DBSize: 1 << 20}}},
		},
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	c := newFake()
	c.nodes["w0"] = madeNode("w0", nil, "10.0.0.30", "192.168.0.30")
	got, err := Look(t.Context(), c.host, c)
	if err != nil {
		t.Fatal(err)
	}
	if got.First.Name != "cp1" || got.First.Address != "10.0.0.11" || len(got.Workers) != 2 || got.Workers[0].Name != "w0" ||
		got.ServiceSubnet != "10.96.0.0/12" || got.PodSubnet != "10.244.0.0/16" || got.Etcd.Version != "3.6.5" ||
		got.Etcd.ListenClient != "https://127.0.0.1:2379" || got.KubeadmAPI != "kubeadm.k8s.io/v1beta4" {
		t.Errorf("%+v", got)
	}
	if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "w0 has several internal addresses (10.0.0.30, 192.168.0.30); 10.0.0.30 is used") {
		t.Errorf("notes: %q", got.Notes)
	}
}

// TestRefused: everything that is no kubeadm cluster with one control-plane
// node is refused with what it is instead, and what to do.
func TestRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		arrange func(*fake)
		says    []string
	}{
		"nothing there": {func(f *fake) { f.host.Delete(apiManifest) }, []string{"cp1 is no kubeadm control-plane node", "migrate init root@HOST"}},
		"a worker": {func(f *fake) {
			f.host.Delete(apiManifest)
			f.host.Put(remote.File{Path: kubeletConf, Data: []byte("clusters: [{name: a, cluster: {server: 'https://10.0.0.11:6443'}}]\ncontexts: [{name: b, context: {cluster: a}}]\ncurrent-context: b\n")})
		}, []string{"cp1 is no control-plane node", "its kubelet talks to https://10.0.0.11:6443", "migrate init root@10.0.0.11"}},
		"another distribution": {func(f *fake) { f.host.Delete(apiManifest); f.host.Folder("/etc/rancher/k3s") }, []string{"cp1 has k3s", "no kubeadm cluster"}},
		"no admin.conf":        {func(f *fake) { f.host.Delete(adminConf) }, []string{"cp1 has no /etc/kubernetes/admin.conf", "kubeadm init phase kubeconfig admin"}},
		"no advertise address": {func(f *fake) {
			f.host.Put(remote.File{Path: apiManifest, Data: []byte("kind: Pod\nspec: {containers: [{name: x, command: [x]}]}\n")})
		}, []string{"no --advertise-address", apiManifest}},
		"the API is away":       {func(f *fake) { f.down = true }, []string{"asking the API server on cp1", "kubectl", "connection refused"}},
		"not made by kubeadm":   {func(f *fake) { f.noMap = true }, []string{"no ConfigMap kube-system/kubeadm-config", "upload-config"}},
		"highly available":      {func(f *fake) { f.nodes["cp0"] = controlPlaneNode("cp0", "10.0.0.10") }, []string{"2 control-plane nodes already (cp0, cp1)", "migrate status"}},
		"no control-plane mark": {func(f *fake) { delete(f.nodes, "cp1") }, []string{"no Node of this cluster has the label", "kubectl label node"}},
		"external etcd":         {func(f *fake) { f.config += "etcd: {external: {endpoints: ['https://e1:2379']}}\n" }, []string{"etcd of this cluster is external already (https://e1:2379", "migrate status"}},
		"no etcd manifest":      {func(f *fake) { f.host.Delete(etcdManifest) }, []string{"cp1 has no " + etcdManifest}},
		"half migrated by hand": {func(f *fake) {
			f.etcd.Members = append(f.etcd.Members, etcd.Member{PeerURLs: []string{"https://10.0.0.21:2380"}})
		}, []string{"etcd has 2 members already", "one that never started at https://10.0.0.21:2380", "etcdctl member remove"}},
		"etcd does not answer": {func(f *fake) { f.etcd.Answers[0].Err = errors.New("deadline exceeded") }, []string{"asking etcd on cp1", "deadline exceeded"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFake()
			test.arrange(c)
			_, err := Look(t.Context(), c.host, c)
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range test.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

// TestNotes: what is unusual is said.
func TestNotes(t *testing.T) {
	t.Parallel()
	c := newFake()
	c.config += "controlPlaneEndpoint: k8s.example.net:6443\n"
	away := madeNode("w1", nil)
	away.Status.Conditions[0].Status = corev1.ConditionUnknown
	c.nodes = map[string]corev1.Node{"cp1": controlPlaneNode("cp1", "192.168.0.11"), "w1": away, "w2": away}
	two := away
	two.Name, two.Status.Addresses = "w2", []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.32"}}
	c.nodes["w2"] = two
	got, err := Look(t.Context(), c.host, c)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(got.Notes, "\n")
	for _, want := range []string{"the control-plane endpoint k8s.example.net:6443 already", "advertises 10.0.0.11, and the Node cp1 has the InternalIP 192.168.0.11",
		"the Node w1 has no InternalIP: list it under spec.workers", "the Node w2 is not Ready"} {
		if !strings.Contains(all, want) {
			t.Errorf("no note %q in:\n%s", want, all)
		}
	}
}
