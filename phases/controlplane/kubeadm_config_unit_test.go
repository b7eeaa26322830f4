package controlplane

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestKubeadmConfigByHand: what the playbook says works with two runtimes on the
// node, with kubeadm of before 1.32 and since, and others can read nothing of it.
func TestKubeadmConfigByHand(t *testing.T) {
	t.Parallel()
	for out, folder := range map[string]string{"": "1.32", "/tmp/kubeadm-init-dryrun42": "1.31"} {
		dir := t.TempDir()
		write := func(name, text string) {
			file := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		write("bin/kubectl", "#!/bin/sh\ncase $* in *get*) printf 'apiVersion: kubeadm.k8s.io/v1beta4\\nkind: ClusterConfiguration\\n';; esac\n")
		// As kubeadm does: it stops where it is to find the socket and there are two.
		write("bin/kubeadm", `#!/bin/sh
set -e
for last; do :; done
stat -c 'mode %a' "$last"; stat -c 'folder %a' "$KUBEADM_INIT_DRYRUN_DIR"
cat "$last"
grep -q 'criSocket: unix:///run/crio/crio.sock' "$last" || { echo 'found multiple CRI endpoints on the host' >&2; exit 1; }
d=$KUBEADM_INIT_DRYRUN_DIR`+out+`
mkdir -p "$d"
echo "made" >"$d/kube-apiserver.yaml"; echo same >"$d/kube-scheduler.yaml"; echo same >"$d/kube-controller-manager.yaml"
`)
		for name, text := range map[string]string{"kube-apiserver": "runs\n", "kube-scheduler": "same\n", "kube-controller-manager": "same\n", "etcd": "no part of this\n"} {
			write("etc/kubernetes/manifests/"+name+".yaml", text)
		}
		write("var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/crio/crio.sock --v=2\"\n")
		script := strings.NewReplacer("```", "", "{{.First.Name}}", "cp1", "{{.First.Address}}", "10.88.0.11",
			" /etc/kubernetes", " "+dir+"/etc/kubernetes", " /var/lib/kubelet", " "+dir+"/var/lib/kubelet").Replace(kubeadmConfig().ByHand)
		command := exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
		command.Env = []string{"HOME=" + dir, "PATH=" + dir + "/bin:" + os.Getenv("PATH")}
		said, err := command.CombinedOutput()
		for _, want := range []string{"mode 600", "folder 700", "kind: InitConfiguration", "advertiseAddress: 10.88.0.11}", "name: cp1, ", "---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration", "< made\n---\n> runs"} {
			if !strings.Contains(string(said), want) {
				t.Errorf("kubeadm %s: it does not say %q: %v\n%s", folder, want, err, said)
			}
		}
		if strings.Contains(string(said), "same") || strings.Contains(string(said), "no part") {
			t.Errorf("kubeadm %s: it says what is alike\n%s", folder, said)
		}
		if left, err := filepath.Glob(dir + "/*"); err != nil || len(left) != 3 { // bin, etc, var
			t.Errorf("kubeadm %s: left in the home folder: %q, %v", folder, left, err)
		}
	}
}
