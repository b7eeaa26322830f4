package preflight_test

import (
	"testing"

	"hamigrate/migrate/remote"
	"hamigrate/phases/preflight"
	"hamigrate/phases/simulator"
)

// fileFaults are about runtimes, tokens and the files of the nodes.
func fileFaults() []fault {
	return []fault{
		{"nobody behind the socket", "ContainerRuntime", "cp2", preflight.Blocking, []string{"nobody listens on unix:///run/containerd/containerd.sock"}, root("cp2", "printf dead > /run/containerd/containerd.sock")},
		{"a runtime that hangs", "ContainerRuntime", "cp2", preflight.Blocking, []string{"does not answer", "deadline"}, root("cp2", "printf deaf > /run/containerd/containerd.sock")},
		{"a runtime that takes connections only", "ContainerRuntime", "cp2", preflight.Blocking, []string{"does not answer", "no answer within 5 seconds"}, root("cp2", "printf hung > /run/containerd/containerd.sock")},
		{"images of a runtime that takes connections only", "Images", "cp2", preflight.Warning, []string{"could not be listed"}, root("cp2", "printf hung > /run/containerd/containerd.sock")},
		{"another runtime than the first's", "ContainerRuntime", "cp2", preflight.Blocking, []string{"the kubelet of cp1 uses unix:///run/crio/crio.sock, which is not there", "unix:///run/containerd/containerd.sock besides", "enable --now crio"},
			root("cp1", "echo 'containerRuntimeEndpoint: /run/crio/crio.sock' > /var/lib/kubelet/config.yaml")},
		{"CRI-O without crictl", "Images", "cp2", preflight.Warning, []string{"could not be listed", "crictl"}, func(t *testing.T, w *simulator.World) {
			root("cp1", "echo 'containerRuntimeEndpoint: unix:///run/crio/crio.sock' > /var/lib/kubelet/config.yaml")(t, w)
			root("cp2", "mkdir -p /run/crio; echo > /run/crio/crio.sock")(t, w)
		}},
		{"no bootstrap tokens", "BootstrapToken", "cp1", preflight.Blocking, []string{"--enable-bootstrap-token-auth"}, below("    - --enable-bootstrap-token-auth=true", "    - --enable-bootstrap-token-auth=false")},
		{"a role taken from the tokens", "BootstrapToken", "cp1", preflight.Blocking, []string{"may not get configmaps kube-system/kubeadm-config", "kubeadm init phase bootstrap-token"}, func(_ *testing.T, w *simulator.World) { w.Forbid("get configmaps kubeadm-config") }},
		{"no CA where the certificates are to be", "BackupFiles", "cp1", preflight.Blocking, []string{"/etc/kubernetes/pki/sa.key", "certificatesDir"}, root("cp1", "rm /etc/kubernetes/pki/sa.key")},
		{"a file that is too large", "BackupFiles", "cp1", preflight.Warning, []string{"/etc/kubernetes/big", "8 MB"}, func(t *testing.T, w *simulator.World) {
			if err := w.Machine("cp1").WriteFile(t.Context(), remote.File{Path: "/etc/kubernetes/big", Data: make([]byte, 9<<20), Mode: 0o600}); err != nil {
				t.Fatal(err)
			}
		}},
	}
}
