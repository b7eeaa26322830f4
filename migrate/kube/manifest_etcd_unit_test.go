package kube

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOnHost: a path inside the container is looked up in the nearest volume.
func TestOnHost(t *testing.T) {
	t.Parallel()
	m, err := ParseManifest([]byte(`apiVersion: v1
kind: Pod
spec:
  containers:
  - command: [etcd, --data-dir=/var/lib/etcd]
    volumeMounts:
    - {mountPath: /var/lib/etcd, name: anything}
    - {mountPath: /var/lib, name: wide}
    - {mountPath: /scratch/, name: empty}
    - {mountPath: /sub, name: wide, subPath: etcd/one}
    - {mountPath: /who, name: wide, subPathExpr: $(NODE)}
  volumes:
  - {name: wide, hostPath: {path: /srv/lib}}
  - {name: anything, hostPath: {path: /data/etcd/}}
  - {name: empty, emptyDir: {}}
`))
	if err != nil {
		t.Fatal(err)
	}
	for inside, want := range map[string]string{
		"/var/lib/etcd": "/data/etcd", "/var/lib/etcd/": "/data/etcd", "/var/lib/etcd/member": "/data/etcd/member",
		"/var/lib/etcd2": "/srv/lib/etcd2", "/sub/x": "/srv/lib/etcd/one/x", "/scratch/etcd": "", "/elsewhere": "",
		"/sub": "/srv/lib/etcd/one", "/subs/x": "", "/var/lib": "/srv/lib", "/who/x": "", "relative": "", "": "", "-": "",
	} {
		if got, ok := m.OnHost(inside); ok != (want != "") || ok && got != want {
			t.Errorf("%s is at %q, %v; want %q", inside, got, ok, want)
		}
	}
}

// TestLocalEtcdArgs reads both shapes of kubeadm's.
func TestLocalEtcdArgs(t *testing.T) {
	t.Parallel()
	want := Flags{{"force-new-cluster", "true"}, {"listen-metrics-urls", "http://0.0.0.0:2381"}}
	for _, text := range []string{
		"apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\netcd:\n  local:\n    extraArgs:\n      force-new-cluster: \"true\"\n      listen-metrics-urls: http://0.0.0.0:2381\n",
		"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\netcd:\n  local:\n    extraArgs:\n    - {name: force-new-cluster, value: \"true\"}\n    - {name: listen-metrics-urls, value: 'http://0.0.0.0:2381'}\n",
	} {
		cc, err := ParseClusterConfiguration(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, cc.LocalEtcdArgs()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	none, err := ParseClusterConfiguration("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\netcd: {external: {endpoints: [x]}}\n")
	if err != nil || none.LocalEtcdArgs() != nil || none.LocalEtcdVariables() != nil {
		t.Errorf("external: %v, %v", none.LocalEtcdArgs(), err)
	}
}
