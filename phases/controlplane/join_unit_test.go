package controlplane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"regexp"
	"testing"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/phases"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// newCA makes a CA and its pin: kubeadm hashes the public key's DER.
func newCA(t *testing.T) (ca []byte, pin string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), "sha256:" + hex.EncodeToString(sum[:])
}

func TestCAHashes(t *testing.T) {
	t.Parallel()
	one, pin1 := newCA(t)
	two, pin2 := newCA(t)
	got, err := caHashes(append(append([]byte("\n"), one...), two...))
	if diff := cmp.Diff([]string{pin1, pin2}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for _, bad := range []string{"", "no PEM", "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n"} {
		if got, err := caHashes([]byte(bad)); err == nil {
			t.Errorf("%q gave %v", bad, got)
		}
	}
}

func TestJoinDocument(t *testing.T) {
	t.Parallel()
	ca, pin := newCA(t)
	secrets := joinSecrets{kube.BootstrapToken{ID: "abcdef", Secret: "0123456789abcdef"}, "c0ffee"}
	for _, version := range []string{"kubeadm.k8s.io/v1beta3", "kubeadm.k8s.io/v1beta4"} {
		for _, full := range []bool{false, true} {
			spec := cluster.Spec{Endpoint: cluster.Endpoint{Host: "lb.example", Port: 8443},
				ControlPlane: cluster.ControlPlane{First: cluster.Host{Name: "cp1", Address: "10.88.0.11"}, Joining: []cluster.Host{{Name: "cp2", Address: "10.88.0.12"}}}}
			registration := map[string]any{"name": "cp2"}
			want := map[string]any{
				"apiVersion": version, "kind": "JoinConfiguration", "nodeRegistration": registration,
				"discovery": map[string]any{"bootstrapToken": map[string]any{
					"apiServerEndpoint": "lb.example:8443", "token": "abcdef.0123456789abcdef", "caCertHashes": []any{pin}}},
				"controlPlane": map[string]any{"certificateKey": "c0ffee",
					"localAPIEndpoint": map[string]any{"advertiseAddress": "10.88.0.12", "bindPort": 7443.0}},
			}
			if full {
				spec.ControlPlane.Join = cluster.Join{Patches: "/etc/kubernetes/patches", IgnorePreflightErrors: []string{"SystemVerification", "Swap"}}
				want["patches"] = map[string]any{"directory": "/etc/kubernetes/patches"}
				registration["ignorePreflightErrors"] = []any{"SystemVerification", "Swap"}
			}
			cc, err := kube.ParseClusterConfiguration("kind: ClusterConfiguration\napiVersion: " + version + "\n")
			if err != nil {
				t.Fatal(err)
			}
			out, err := joinDocument(phases.NewWorld(spec, nil).View("cp2"), cc, secrets, ca, 7443)
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := yaml.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, full %t (-want +got)\n%s", version, full, diff)
			}
		}
	}
}

func TestNewSecretsHaveKubeadmsForms(t *testing.T) {
	t.Parallel()
	seen := map[joinSecrets]bool{}
	for range 50 {
		s, err := newSecrets()
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`^[a-z0-9]{6}$`).MatchString(s.token.ID) || !regexp.MustCompile(`^[a-z0-9]{16}$`).MatchString(s.token.Secret) ||
			!regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(s.certificateKey) || seen[s] {
			t.Fatal("a secret has not kubeadm's form, or came twice")
		}
		seen[s] = true
	}
}

func TestKubeadmPKI(t *testing.T) {
	t.Parallel()
	for name, own := range map[string]bool{
		"ca.crt": true, "sa.pub": true, "sa.key": true, "front-proxy-ca.crt": true, "front-proxy-client.key": true, "apiserver.crt": true,
		"apiserver-kubelet-client.key": true, "apiserver-etcd-client.crt": true, "etcd/ca.crt": true, "etcd/healthcheck-client.key": true,
		"oidc-ca.crt": false, "sni.key": false, "ca.crt.bak": false, "my-ca.crt": false, "webhook/ca.crt": false, "encryption.yaml": false, "etcd/x/ca.crt": false,
	} {
		if kubeadmPKI.MatchString(name) != own {
			t.Errorf("%s is kubeadm's own: %t", name, !own)
		}
	}
	got := namedBelowPKI(kube.Flags{{Name: "client-ca-file", Value: "/etc/kubernetes/pki/ca.crt"}, {Name: "oidc-ca-file", Value: "/etc/kubernetes/pki//oidc-ca.crt"},
		{Name: "audit-policy-file", Value: "/etc/kubernetes/audit.yaml"}, {Name: "x", Value: "/etc/kubernetes/pki/../y"}, {Name: "v", Value: "2"}})
	if len(got) != 1 || got[0] != (item{path: "/etc/kubernetes/pki/oidc-ca.crt"}) {
		t.Errorf("got %+v", got)
	}
}
