package kube

import (
	"fmt"
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

// TestNoSecretOfAPodIsShown, wherever one can stand: not in messages, and not in
// the patches. What can be none is, so that the patch says what it is about.
func TestNoSecretOfAPodIsShown(t *testing.T) {
	t.Parallel()
	live := podFor([]string{"--v=3", "--db-password=opensesame-1"}, `    env: [{name: KMS, value: opensesame-2}]
    livenessProbe: {httpGet: {path: "/livez?exclude=etcd", httpHeaders: [{name: Authorization, value: Bearer opensesame-3}, {name: Accept, value: text/plain}]}}
    startupProbe: {exec: {command: [/bin/check, --port=6443, --pin=opensesame-4]}}
    readinessProbe: {httpGet: {path: "/readyz?token=opensesame-5"}}
    lifecycle: {postStart: {exec: {command: [sh, -c, curl -u ines:opensesame-6 x]}}}
  - name: kms
    image: registry:5000/kms@sha256:`+strings.Repeat("0a", 32)+`
    command: [/kms, serve, opensesame-7]
    args: [--listen=unix:///run/kms.sock, --token, opensesame-8, --key=/opensesame-9, -popensesame-10, --interval=1m30s, --verbose, --upstream=http://ines:opensesame-11@kms]
    env: [{name: TOKEN, value: opensesame-12}, {name: TZ, value: UTC}]
  initContainers: [{name: first, image: kms:1, args: [opensesame-13]}]
  volumes:
  - {name: vault, csi: {driver: vault.io, volumeAttributes: {secretId: opensesame-14}}}
  - {name: old, flexVolume: {driver: x/y, options: {key: opensesame-15}}}`)
	live = strings.Replace(live, "metadata: {", "metadata: {annotations: {vault.io/token: opensesame-16, scrape: 'true'}, ", 1)
	s := sidesOf(t, live, podFor([]string{"--v=2"}))
	list, err := s.Compare()
	if err != nil {
		t.Fatal(err)
	}
	patches, masked, err := s.Patches(list)
	if err != nil || !masked {
		t.Fatalf("%t, %v", masked, err)
	}
	out := fmt.Sprint(list, patches) // of each difference its String
	for _, d := range list {
		out += d.Live + d.Made
	}
	if at := strings.Index(out, "opensesame"); at >= 0 {
		t.Errorf("a secret is shown: %s", out[max(0, at-60):at+20])
	}
	for _, p := range patches {
		if p.Kind != "strategic" {
			continue
		}
		for _, want := range []string{`"/livez?exclude=etcd"`, `"text/plain"`, `["/bin/check","--port=6443","--pin=AS-ON-THE-FIRST-NODE"]`, `["/kms","AS-ON-THE-FIRST-NODE","AS-ON-THE-FIRST-NODE"]`,
			`["--listen=unix:///run/kms.sock","--token","AS-ON-THE-FIRST-NODE","--key=AS-ON-THE-FIRST-NODE","AS-ON-THE-FIRST-NODE","--interval=1m30s","--verbose","--upstream=AS-ON-THE-FIRST-NODE"]`,
			`{"name":"TZ","value":"UTC"}`, `"registry:5000/kms@sha256:0a`, `"scrape":"true"`} {
			if !strings.Contains(p.Text, want) {
				t.Errorf("%s is not in %s", want, p.Text)
			}
		}
	}
	patchedIsSame(t, s, list)
}

// TestNoProxyIsForAll: it lists the nodes, is no node's own, and comes to the
// others as it is, in every container.
func TestNoProxyIsForAll(t *testing.T) {
	t.Parallel()
	const list = "10.88.0.11,10.88.0.12,10.88.0.13,.internal"
	s := sidesOf(t, podFor([]string{"--v=2"}, "    env: [{name: NO_PROXY, value: '"+list+"'}, {name: no_proxy, value: '10.88.0.11'}]\n  - name: kms\n    image: kms:1\n    env: [{name: NO_PROXY, value: '"+list+"'}]"), podFor([]string{"--v=2"}))
	found, err := s.Compare()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range found {
		if d.Own || d.Field == ExtraEnvs && !d.Writable() {
			t.Errorf("%s: %+v", d, d)
		}
	}
	patches, masked, err := s.Patches(found)
	if err != nil || masked || len(patches) != 1 || strings.Count(patches[0].Text, list) != 2 {
		t.Fatalf("%+v, %t, %v", patches, masked, err)
	}
	data, err := strategicpatch.StrategicMergePatch([]byte(text(s.Made.pod)), []byte(patches[0].Text), corev1.Pod{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Made, err = ParseManifest(data); err != nil {
		t.Fatal(err)
	}
	if left, err := s.Compare(); err != nil || len(left) > 0 {
		t.Errorf("patched, it still differs: %v, %v", left, err)
	}
}

// TestPatchKeepsWhatWasFilledIn: a value that a patch has brought already is not
// in the next one.
func TestPatchKeepsWhatWasFilledIn(t *testing.T) {
	t.Parallel()
	sidecar := "  - name: kms\n    image: kms:1\n    env: [{name: TOKEN, value: opensesame}]"
	s := sidesOf(t, podFor([]string{"--v=2"}, "    resources: {limits: {memory: 2Gi}}", sidecar), podFor([]string{"--v=2"}, sidecar))
	list, err := s.Compare()
	if err != nil {
		t.Fatal(err)
	}
	patches, masked, err := s.Patches(list)
	if err != nil || masked || len(patches) != 1 || strings.Contains(patches[0].Text, "TOKEN") {
		t.Errorf("got %+v, %t, %v", patches, masked, err)
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
