package kube

import (
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// patchedIsSame applies the patches as kubeadm does (util/patches) and wants no
// difference, but for values that were not to be written.
func patchedIsSame(t *testing.T, s Sides, list []Difference) {
	t.Helper()
	patches, masked, err := s.Patches(list)
	if err != nil {
		t.Fatal(err)
	}
	data := []byte(text(s.Made.pod))
	for _, p := range patches {
		if strings.Contains(p.Text, "opensesame") || strings.Contains(p.Text, "10.88.0.11") && !strings.Contains(p.Text, "issuer") || strings.Contains(p.Text, "cp1") {
			t.Errorf("the patch holds a secret, or what is the first node's own: %s", p.Text)
		}
		if p.Kind == "json" {
			decoded, err := jsonpatch.DecodePatch([]byte(p.Text))
			if err != nil {
				t.Fatal(err)
			}
			if data, err = decoded.Apply(data); err != nil {
				t.Fatal(err)
			}
		} else if data, err = strategicpatch.StrategicMergePatch(data, []byte(p.Text), corev1.Pod{}); err != nil {
			t.Fatal(err)
		}
	}
	if s.Made, err = ParseManifest(data); err != nil {
		t.Fatal(err)
	}
	left, err := s.Compare()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range left {
		if !d.Slight && !(masked && d.Secret()) {
			t.Errorf("patched with %+v, it still differs: %s", patches, d)
		}
	}
}

// TestPatchBringsASidecar with its volumes, and no value of its variables.
func TestPatchBringsASidecar(t *testing.T) {
	t.Parallel()
	live := podFor([]string{"--v=2"}, `  - name: kms
    image: kms:1
    env: [{name: TOKEN, value: opensesame}]
    volumeMounts: [{name: socket, mountPath: /run/kms}]
  volumes: [{name: socket, hostPath: {path: /run/kms, type: DirectoryOrCreate}}]`)
	s := sidesOf(t, live, podFor([]string{"--v=2"}))
	list, err := s.Compare()
	if err != nil {
		t.Fatal(err)
	}
	patches, masked, err := s.Patches(list)
	if err != nil || !masked || len(patches) != 1 || strings.Contains(patches[0].Text, "opensesame") || !strings.Contains(patches[0].Text, `"image":"kms:1"`) || !strings.Contains(patches[0].Text, `"path":"/run/kms"`) {
		t.Errorf("got %+v, %t, %v", patches, masked, err)
	}
	for _, d := range list {
		if strings.Contains(d.String(), "opensesame") {
			t.Errorf("a secret is shown: %s", d)
		}
	}
}
