package controlplane

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

func TestJoinDocument(t *testing.T) {
	t.Parallel()
	secrets := joinSecrets{kube.BootstrapToken{ID: "abcdef", Secret: "0123456789abcdef"}, "c0ffee"}
	for _, version := range []string{"kubeadm.k8s.io/v1beta3", "kubeadm.k8s.io/v1beta4"} {
		for _, full := range []bool{false, true} {
			spec := cluster.Spec{Endpoint: cluster.Endpoint{Host: "lb.example", Port: 8443},
				ControlPlane: cluster.ControlPlane{First: cluster.Host{Name: "cp1", Address: "10.88.0.11"}, Joining: []cluster.Host{{Name: "cp2", Address: "10.88.0.12"}}}}
			registration := map[string]any{"name": "cp2", "criSocket": "unix:///run/crio/crio.sock"}
			want := map[string]any{
				"apiVersion": version, "kind": "JoinConfiguration", "nodeRegistration": registration,
				"discovery": map[string]any{"file": map[string]any{"kubeConfigPath": "/var/lib/migrate/discovery.conf"}, "tlsBootstrapToken": "abcdef.0123456789abcdef"},
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
			out, err := joinDocument(phases.NewAccess(spec, nil).Reader("cp2"), cc, secrets, "unix:///run/crio/crio.sock", 7443)
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

// TestDiscoveryDocument: kubeadm's own reader takes it, and finds credentials in
// it, so that it does not ask as nobody.
func TestDiscoveryDocument(t *testing.T) {
	t.Parallel()
	data, err := discoveryDocument("https://lb.example:8443", []byte("the CA"), kube.BootstrapToken{ID: "abcdef", Secret: "0123456789abcdef"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := clientcmd.Load(data)
	if err != nil || clientcmd.Validate(*got) != nil {
		t.Fatalf("%v, %v", err, got)
	}
	current := got.Contexts[got.CurrentContext]
	cluster, user := got.Clusters[current.Cluster], got.AuthInfos[current.AuthInfo]
	if cluster.Server != "https://lb.example:8443" || string(cluster.CertificateAuthorityData) != "the CA" || cluster.InsecureSkipTLSVerify || user.Token != "abcdef.0123456789abcdef" {
		t.Errorf("%+v %+v", cluster, user)
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

// TestCAOfKubelet: a join writes the CA where a reset with another certificates
// folder leaves it.
func TestCAOfKubelet(t *testing.T) {
	t.Parallel()
	for folder, want := range map[string]string{
		"/etc/kubernetes/pki": "", "/etc/kubernetes/pki/": "", "/etc/kubernetes": "",
		"/etc/kubernetes/ssl": "/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki2": "/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/x": "/etc/kubernetes/pki/ca.crt",
	} {
		if got := caOfKubelet(folder); got != want {
			t.Errorf("certificates in %s: %q, not %q", folder, got, want)
		}
	}
}

// TestForeignScript runs it: what is there is listed, and where a folder can't be
// read nothing is taken for listed.
func TestForeignScript(t *testing.T) {
	t.Parallel()
	folder, programs := t.TempDir(), t.TempDir()
	for _, err := range []error{
		os.WriteFile(filepath.Join(folder, "own file.pem"), nil, 0o600), os.Symlink("elsewhere", filepath.Join(folder, "link.pem")),
		os.WriteFile(filepath.Join(programs, "find"), []byte("#!/bin/sh\necho \"$1x\"\nexit 1\n"), 0o755), //nolint:gosec // a program
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "/nothing"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", foreignScript(folder+name)).Output()
		listed := strings.Contains(string(out), "file "+folder+"/own file.pem\n") && strings.Contains(string(out), "link "+folder+"/link.pem\n")
		if err != nil || listed != (name == "") {
			t.Errorf("%q: %v, %s", name, err, out)
		}
	}
	c := exec.CommandContext(t.Context(), "sh", "-c", foreignScript(folder))
	c.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"))
	if out, err := c.Output(); err == nil {
		t.Errorf("find has failed, and the list is: %q", out)
	}
}

// TestToBeThere: a socket is made by who listens, after the join perhaps.
func TestToBeThere(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind      remote.PathKind
		led, want bool
	}{
		{remote.FilePath, false, true}, {remote.FolderPath, true, true}, {remote.FolderPath, false, false},
		{remote.OtherPath, false, false}, {remote.OtherPath, true, false}, {remote.AbsentPath, false, false},
	} {
		if got := toBeThere(tt.kind, tt.led); got != tt.want {
			t.Errorf("%s, led to %t: %t", tt.kind, tt.led, got)
		}
	}
}
