package controlplane

import (
	"slices"
	"testing"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"

	"github.com/google/go-cmp/cmp"
)

// TestSortLeavesTheWayThroughALink: `current` leads to a dated folder. The link,
// the folder and the file in it are carried, and not the file by the link's name:
// that would make a folder where the link is to be.
func TestSortLeavesTheWayThroughALink(t *testing.T) {
	t.Parallel()
	const dir = "/etc/kubernetes/audit"
	f := &follower{source: source{roots: []kube.HostPath{{Path: dir + "/current", ReadOnly: true}}}, seen: map[string]remote.Standing{
		dir:                          {Kind: remote.FolderPath},
		dir + "/current":             {Kind: remote.LinkPath, Link: "2026-11"},
		dir + "/current/policy.yaml": {Kind: remote.FilePath},
		dir + "/2026-11":             {Kind: remote.FolderPath},
		dir + "/2026-11/policy.yaml": {Kind: remote.FilePath},
		dir + "/2026-11/gone.yaml":   {Kind: remote.AbsentPath},
		"/etc/localtime":             {Kind: remote.LinkPath, Link: "/usr/share/zoneinfo/UTC"},
	}}
	got, err := f.sort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, i := range got.items {
		paths = append(paths, i.path)
	}
	if diff := cmp.Diff([]string{dir + "/2026-11", dir + "/2026-11/policy.yaml", dir + "/current"}, paths); diff != "" {
		t.Error(diff)
	}
	if end := f.end(dir + "/current/policy.yaml"); end != dir+"/2026-11/policy.yaml" {
		t.Errorf("it ends at %s", end)
	}
}

func TestPathsIn(t *testing.T) {
	t.Parallel()
	got := pathsIn(map[string]any{
		"plugins":  []any{map[string]any{"name": "ImagePolicyWebhook", "path": "image.yaml"}, map[string]any{"configuration": map[string]any{"imagePolicy": map[string]any{"kubeConfigFile": "/etc/k/hook.conf"}}}},
		"endpoint": "unix:///run/kms.sock", "name": "relative", "clusters": []any{map[string]any{"cluster": map[string]any{"certificate-authority": "ca.crt", "server": "https://x"}}},
	}, "")
	slices.Sort(got)
	if diff := cmp.Diff([]string{"/etc/k/hook.conf", "ca.crt", "image.yaml"}, got); diff != "" {
		t.Error(diff)
	}
}
