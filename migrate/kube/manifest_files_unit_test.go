package kube

import "testing"

const mounted = `apiVersion: v1
kind: Pod
metadata: {name: kube-apiserver}
spec:
  containers:
  - name: kube-apiserver
    command: [kube-apiserver, --audit-log-path=/audit/logs/audit.log, --log-dir=/logs, --audit-policy-file=/audit/policy.yaml, --oidc-ca-file=/in-the-image/ca.crt]
    volumeMounts:
    - {name: audit, mountPath: /audit}
    - {name: audit-logs, mountPath: /audit/logs}
    - {name: logs, mountPath: /logs}
    - {name: logs, mountPath: /old-logs}
  volumes:
  - {name: audit, hostPath: {path: /etc/kubernetes/audit}}
  - {name: audit-logs, hostPath: {path: /srv/audit/}}
  - {name: logs, hostPath: {path: /var/log/apiserver}}
  - {name: unused, hostPath: {path: /srv/unused}}
`

func TestWritten(t *testing.T) {
	t.Parallel()
	w := mustManifest(t, mounted).Written()
	for file, want := range map[string]bool{
		"/srv/audit/audit.log": true, "/srv/audit/audit-2026-11-30T13-50-20.123.log": true, "/srv/audit/audit-2026-11-30T13-50-20.123.log.gz": true,
		"/var/log/apiserver/kube-apiserver.INFO": true,
		"/srv/audit/audit-policy.log":            false, "/srv/audit/audit.yaml": false, "/etc/kubernetes/audit/policy.yaml": false, "/srv/audit": false, "/var/log/apiservers/x": false,
	} {
		if w.Has(file) != want {
			t.Errorf("%s is written: %t", file, !want)
		}
	}
}

func TestOfKubeadm(t *testing.T) {
	t.Parallel()
	for name, own := range map[string]bool{
		"ca.crt": true, "sa.pub": true, "sa.key": true, "front-proxy-ca.crt": true, "front-proxy-client.key": true, "apiserver.crt": true,
		"apiserver-kubelet-client.key": true, "apiserver-etcd-client.crt": true, "etcd/ca.crt": true, "etcd/healthcheck-client.key": true,
		"oidc-ca.crt": false, "sni.key": false, "ca.crt.bak": false, "my-ca.crt": false, "webhook/ca.crt": false, "encryption.yaml": false, "etcd/x/ca.crt": false, "etcd/webhook.crt": false,
	} {
		if OfKubeadm(name) != own {
			t.Errorf("%s is kubeadm's own: %t", name, !own)
		}
	}
	for name, key := range map[string]bool{"/x/ca.key": true, "ca.key.bak": true, "ca-key.pem": true, "front-proxy-ca.key": true, "my_ca.key~": true, "africa.key": false, "ca.crt": false, "sa.key": false} {
		if NamedLikeCAKey(name) != key {
			t.Errorf("%s is named like a CA's key: %t", name, !key)
		}
	}
}
