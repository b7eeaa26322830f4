package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// passesCIS looks at what the migration made or edited as the CIS Kubernetes
// Benchmark 1.12 asks for it: with stat, and in the arguments of the processes.
func passesCIS(t *testing.T, s *scenario) {
	for _, node := range controlPlanes() {
		cisFiles(t, s, node, "600 root:root", "/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/kubernetes/manifests/kube-controller-manager.yaml",
			"/etc/kubernetes/manifests/kube-scheduler.yaml", "/etc/kubernetes/admin.conf", "/etc/kubernetes/scheduler.conf", "/etc/kubernetes/controller-manager.conf")
		cisPKI(t, s, node)
		args := cisArguments(t, s, node, "kube-apiserver")
		for item, names := range map[string][]string{"1.2.23": {"etcd-certfile", "etcd-keyfile"}, "1.2.24": {"tls-cert-file", "tls-private-key-file"}, "1.2.26": {"etcd-cafile"}} {
			cisHas(t, node, item, args, names...)
		}
	}
	for _, node := range append(controlPlanes(), workers()...) {
		cisFiles(t, s, node, "600 root:root", "/etc/kubernetes/kubelet.conf") // 4.1.5, 4.1.6
	}
	cisEncryption(t, s)
	for _, name := range etcdHosts() {
		cisMember(t, s, name)
	}
}

// cisFiles wants files of one mode and owner.
func cisFiles(t *testing.T, s *scenario, host, want string, files ...string) {
	t.Helper()
	for _, file := range files {
		if got := strings.TrimSpace(s.pg.hosts[host].must(t, "stat -c '%a %U:%G' "+file)); got != want {
			t.Errorf("on %s, %s is %s, not %s", host, file, got, want)
		}
	}
}

// cisPKI: 1.1.19 to 1.1.21.
func cisPKI(t *testing.T, s *scenario, node string) {
	t.Helper()
	for _, find := range []string{
		`! -type l \( ! -user root -o ! -group root \)`,
		`-type f -name '*.crt' -perm /0133`,
		`-type f -name '*.key' -perm /0177`,
	} {
		if out := s.pg.hosts[node].must(t, "find /etc/kubernetes/pki "+find); out != "" {
			t.Errorf("on %s, of the certificates' folder, `find %s` says:\n%s", node, find, out)
		}
	}
}

// cisArguments are those of the one process of a name.
func cisArguments(t *testing.T, s *scenario, host, process string) []string {
	t.Helper()
	out := s.pg.hosts[host].must(t, fmt.Sprintf(`p=$(pgrep -x %.15s) && tr '\0' '\n' </proc/$p/cmdline`, process))
	return strings.Split(strings.TrimSpace(out), "\n")
}

// cisValue is the last value of an argument, "" without one.
func cisValue(args []string, name string) string {
	value := ""
	for _, arg := range args {
		if v, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			value = v
		}
	}
	return value
}

func cisHas(t *testing.T, host, item string, args []string, names ...string) {
	t.Helper()
	for _, name := range names {
		if cisValue(args, name) == "" {
			t.Errorf("CIS %s, on %s: there is no --%s in %q", item, host, name, args)
		}
	}
}

// cisEncryption: 1.2.27 and 1.2.28, the same on all.
func cisEncryption(t *testing.T, s *scenario) {
	t.Helper()
	var seen []string
	for _, node := range controlPlanes() {
		file := cisValue(cisArguments(t, s, node, "kube-apiserver"), "encryption-provider-config")
		if file != "" {
			// As the API server itself sees it, wherever the node has it.
			file += " " + s.pg.hosts[node].must(t, `sha256sum <"/proc/$(pgrep -x kube-apiserver)/root`+file+`"`)
		}
		if seen = append(seen, file); seen[0] != file {
			t.Errorf("the encryption of Secrets on %s is %q, that on %s is %q", node, file, controlPlanes()[0], seen[0])
		}
	}
	if slices.Contains(seen, "") {
		t.Log("Secrets are not encrypted at rest on this cluster")
	}
}

// cisMember: 1.1.11, 1.1.12 and 2.1 to 2.7.
func cisMember(t *testing.T, s *scenario, name string) {
	t.Helper()
	args := cisArguments(t, s, name, "etcd")
	cisFiles(t, s, name, "700 etcd:etcd", cisValue(args, "data-dir"))
	cisHas(t, name, "2.1", args, "cert-file", "key-file")
	cisHas(t, name, "2.4", args, "peer-cert-file", "peer-key-file")
	for argument, want := range map[string]bool{"--client-cert-auth=true": true, "--peer-client-cert-auth=true": true, "--auto-tls=true": false, "--peer-auto-tls=true": false} {
		if slices.Contains(args, argument) != want {
			t.Errorf("on %s the member has %s: %t, want %t", name, argument, !want, want)
		}
	}
	ca := s.pg.hosts[name].must(t, "cat "+cisValue(args, "trusted-ca-file"))
	if ca == "" || ca == s.pg.hosts["cp1"].must(t, "cat /etc/kubernetes/pki/ca.crt") {
		t.Errorf("CIS 2.7: on %s etcd trusts the cluster's CA", name)
	}
}
