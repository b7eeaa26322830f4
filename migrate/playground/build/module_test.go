package build

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const stagedExample = `module k8s.io/kubernetes

go 1.26.0

godebug default=go1.26

require (
	k8s.io/api v0.0.0
	sigs.k8s.io/yaml v1.6.0
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/kube-aggregator => ./staging/src/k8s.io/kube-aggregator
)

replace example.com/other => ./staging/other
`

func TestKubernetesGoMod(t *testing.T) {
	t.Parallel()
	got, err := kubernetesModule("1.36.3").goMod(stagedExample)
	if err != nil {
		t.Fatal(err)
	}
	want := `module playground

go 1.26.0
godebug default=go1.26
require k8s.io/kubernetes v1.36.3
replace k8s.io/api => k8s.io/api v0.36.3
replace k8s.io/kube-aggregator => k8s.io/kube-aggregator v0.36.3
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := kubernetesModule("1.36.3").goMod("module k8s.io/kubernetes\n"); err == nil {
		t.Error("a go.mod without staging modules gave no error: the build would fail far from its cause")
	}
}

func TestKubernetesIsBuiltWithItsVersion(t *testing.T) {
	t.Parallel()
	args := kubernetesModule("1.33.13").buildArgs("/x")
	for _, want := range []string{".gitVersion=v1.33.13 ", ".gitMajor=1 ", ".gitMinor=33 ", "-s -w "} {
		if !strings.Contains(strings.Join(args, " ")+" ", want) {
			t.Errorf("%q lacks %q", args, want)
		}
	}
}

func TestEtcdToolsOfAnotherPatch(t *testing.T) {
	t.Parallel()
	versions := func(ms []module) (all []string) {
		for _, m := range ms {
			all = append(all, strings.Join(m.Requires, ", "))
		}
		return all
	}
	const server, ctl, utl = "go.etcd.io/etcd/server/v3 v", "go.etcd.io/etcd/etcdctl/v3 v", "go.etcd.io/etcd/etcdutl/v3 v"
	for version, want := range map[string][]string{
		"3.6.8":  {server + "3.6.8, " + ctl + "3.6.8, " + utl + "3.6.8"},
		"3.5.24": {server + "3.5.24", ctl + "3.5.35, " + utl + "3.5.35"},
	} {
		modules := etcdModules(version)
		if diff := cmp.Diff(want, versions(modules)); diff != "" {
			t.Errorf("etcd %s (-want +got):\n%s", version, diff)
		}
		if diff := cmp.Diff([]string{"etcd", "etcdctl", "etcdutl"}, binaryNames(modules)); diff != "" {
			t.Errorf("programs of etcd %s (-want +got):\n%s", version, diff)
		}
	}
}

func TestIsPackage(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"k8s.io/kubernetes/cmd/kubeadm": true, "unicode/utf8": true, "vendor/golang.org/x/net/dns/dnsmessage": true,
		"go: downloading k8s.io/api v0.36.3": false, "# k8s.io/api": false, "main.go:3:1: syntax error": false, "": false,
	} {
		if got := isPackage(line); got != want {
			t.Errorf("isPackage(%q) = %v", line, got)
		}
	}
}
