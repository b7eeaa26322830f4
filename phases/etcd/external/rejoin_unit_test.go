package external

import (
	"strings"
	"testing"

	"hamigrate/migrate/kube"
)

// ofKubeadm is an etcd.yaml as an old kubeadm wrote it: localhost only, and
// nothing of the cluster's state.
const ofKubeadm = `apiVersion: v1
kind: Pod
metadata:
  name: etcd
  namespace: kube-system
spec:
  containers:
  - command:
    - etcd
    - --name=cp1
    - --data-dir=/var/lib/etcd
    - --initial-cluster=cp1=https://127.0.0.1:2380
    - --initial-advertise-peer-urls=https://127.0.0.1:2380
    - --listen-peer-urls=https://127.0.0.1:2380
    - --quota-backend-bytes=8589934592
    image: registry.k8s.io/etcd:3.6.8-0
    livenessProbe: {httpGet: {host: 127.0.0.1, path: /livez, port: 2381}}
    startupProbe: {httpGet: {host: 127.0.0.1, path: /readyz, port: 2381}}
    name: etcd
  hostNetwork: true
`

func TestJoiningManifest(t *testing.T) {
	t.Parallel()
	const members = "e1=https://10.88.0.21:2380,cp1=https://10.88.0.11:2380"
	out, err := joiningManifest([]byte(ofKubeadm), members, "https://10.88.0.11:2380")
	if err != nil {
		t.Fatal(err)
	}
	if !isJoining(out) || isJoining([]byte(ofKubeadm)) {
		t.Error("the two are not told apart")
	}
	if strings.Contains(string(out), "Probe") {
		t.Errorf("it has probes:\n%s", out)
	}
	m, err := kube.ParseManifest(out)
	if err != nil {
		t.Fatal(err)
	}
	if m.Name() != "etcd" || m.Namespace() != "kube-system" {
		t.Errorf("it is %s/%s", m.Namespace(), m.Name())
	}
	for name, want := range map[string]string{
		"initial-cluster": members, "initial-cluster-state": "existing", "initial-advertise-peer-urls": "https://10.88.0.11:2380",
		"listen-peer-urls": "https://127.0.0.1:2380", "name": "cp1", "data-dir": "/var/lib/etcd", "quota-backend-bytes": "8589934592",
	} {
		if got, _ := m.Flags().Get(name); got != want {
			t.Errorf("--%s=%s, not %s", name, got, want)
		}
	}
	for _, other := range []string{"command: [etcd]\n", "command: [sh, -c, etcd]\n"} {
		pod := "spec: {containers: [{name: a}, {name: b}]}"
		if strings.Contains(other, "sh") {
			pod = "spec:\n  containers:\n  - " + other
		}
		if _, err := joiningManifest([]byte(pod), members, "https://10.88.0.11:2380"); err == nil {
			t.Errorf("%s was taken", pod)
		}
	}
}
