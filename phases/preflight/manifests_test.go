package preflight_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"hamigrate/phases/preflight"
	"hamigrate/phases/simulator"
)

// edit changes one of cp1's manifests as a person does.
func edit(name, from, to string) func(*testing.T, *simulator.World) {
	return func(t *testing.T, w *simulator.World) {
		file := "/etc/kubernetes/manifests/" + name + ".yaml"
		f, err := w.Machine("cp1").ReadFile(t.Context(), file)
		if err != nil || !strings.Contains(string(f.Data), from) {
			t.Fatalf("%s has no %q: %v", file, from, err)
		}
		root("cp1", "cat >"+file+" <<'EOF'\n"+strings.Replace(string(f.Data), from, to, 1)+"EOF\n")(t, w)
		w.Pass(2 * time.Minute)
	}
}

func manifestFaults() []fault {
	return []fault{
		{"a flag by hand", "JoinedManifests", "cluster", preflight.Warning, []string{"will write into kubeadm-config", "--profiling of kube-apiserver"}, flag("--profiling=false")},
		{"a sidecar", "JoinedManifests", "cp2", preflight.Blocking, []string{"spec.containers[kms]", "/etc/kubernetes/patches/kube-apiserver-as-first-1+strategic.json"}, edit("kube-apiserver", "  hostNetwork: true\n", "  - image: kms:1\n    name: kms\n  hostNetwork: true\n")},
		{"its own address", "JoinedManifests", "cp3", preflight.Blocking, []string{"--bind-address", "cp1's own value", "--bind-address=10.88.0.13"}, flag("--bind-address=10.88.0.11")},
		{"one address for two API servers", "SharedFlags", "cp1", preflight.Blocking, []string{"--strategy in-place"}, flag("--bind-address=10.88.0.11")},
		{"no leader election", "SharedFlags", "cp1", preflight.Blocking, []string{"leader election off", "kube-scheduler"}, edit("kube-scheduler", "--leader-elect=true", "--leader-elect=false")},
	}
}

// TestWhatJoinsWillMakeIsSaidEarly: before phase 1 it is a warning.
func TestWhatJoinsWillMakeIsSaidEarly(t *testing.T) {
	t.Parallel()
	r := look(t, preflight.Options{Phase: 1}, edit("kube-controller-manager", "--leader-elect=true", "--leader-elect=false"))
	if !slices.ContainsFunc(bad(r), func(x preflight.Result) bool {
		return x.Check == "SharedFlags" && x.Severity == preflight.Warning && strings.Contains(x.Seen, "phase 3 will be blocked")
	}) || len(r.Blocking()) > 0 {
		t.Errorf("%+v", bad(r))
	}
}
