package kube

import (
	"strings"
	"testing"
)

// TestHarmlessVariable: what is not known to be harmless may be a secret.
func TestHarmlessVariable(t *testing.T) {
	t.Parallel()
	own := Own{"cp1", "10.88.0.11"}
	for line, want := range map[string]bool{
		"TZ=Europe/Berlin": true, "GOMEMLIMIT=2GiB": true, "GODEBUG=http2client=0": true, "KUBE_FEATURE_WatchListClient=true": true,
		"HTTPS_PROXY=http://proxy.internal:3128": true, "https_proxy=proxy:3128": true, "NO_PROXY=10.0.0.0/8,.internal,[fd00::1]": true, "FTP_PROXY=": true,
		"POD_IP=10.88.0.11": true, "API=10.88.0.11:6443": true, "NODE_NAME=cp1": true, "ANY=": true,
		"AWS_SECRET_ACCESS_KEY=x": false, "AWS_ACCESS_KEY_ID=x": false, "VAULT_SECRET_ID=x": false, "DB_PASS=x": false, "PRIVATE_KEY=x": false, "KEY=/x+y": false, "PIN=1234": false,
		"HTTPS_PROXY=ines:x@proxy:3128": false, "HTTPS_PROXY=http://ines:x/y@proxy:3128": false, "HTTPS_PROXY=http://ines@proxy": false, "HTTPS_PROXY=ines@proxy:3128": false,
		"HTTPS_PROXY=http://proxy/?key=x": false, "KUBE_FEATURE_X=hunter2": false, "TZ=http://ines:x@proxy": false, "tz=UTC": false, "DSN=postgres://10.88.0.11/x": false,
	} {
		name, value, _ := strings.Cut(line, "=")
		if own.HarmlessVariable(name, value) != want {
			t.Errorf("%s is harmless: %t", line, !want)
		}
	}
}

// TestSecret: of flags the names are known.
func TestSecret(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"db-password=x": true, "kms-pass=x": true, "vault-secret-id=x": true, "token=/x": true, "private-key=x": true, "x=ines:pw@proxy": true, "x=http://ines@proxy": true, "x=a,http://ines:p/w@proxy": true,
		"header=Authorization: Bearer x": true, "x=eyJhbGciOiJSUzI1NiJ9.x": true,
		"use-service-account-credentials=true": false, "enable-bootstrap-token-auth=true": false, "service-account-key-file=/etc/kubernetes/pki/sa.pub": false, "service-account-max-token-expiration=48h": false,
		"tls-private-key-file=/x": false, "tls-sni-cert-key=/a.crt,/a.key:*.internal": false, "service-account-issuer=https://10.88.0.11:6443": false, "bypass=x": false, "oidc-client-id=k8s@example.com": false,
		"image=registry:5000/x@sha256:" + strings.Repeat("0a", 32): false, "etcd-servers=https://10.88.0.21:2379,https://[fd00::1]:2379": false, "token=": false,
	} {
		name, value, _ := strings.Cut(line, "=")
		if Secret(name, value) != want {
			t.Errorf("%s is a secret: %t", line, !want)
		}
	}
}
