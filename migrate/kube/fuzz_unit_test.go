package kube

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"hamigrate/internal/within"
)

// FuzzManifest: an edit of a manifest that is read changes one word of the pod
// and nothing else, and the same edit backward gives the bytes back.
func FuzzManifest(f *testing.F) {
	f.Add(kubeadmAPIServer, "etcd-servers", "https://192.0.2.21:2379,https://192.0.2.22:2379")
	f.Add("spec: {containers: [{command: [kube-apiserver, '--a=it''s', \"--b=c\"]}]}\n", "a", "x'y")
	f.Add("spec:\n  containers:\n  - command: &c\n    - etcd\n    - --a=b # kept\n    args: *c\n", "a", "c")
	f.Add("spec:\r\n  containers:\r\n  - args:\r\n    - --a=b\r\n", "a", "c")
	f.Add("spec:\n  containers:\n  - args:\n    - --ü=b\n    - ü: [--a=b]\n    - --a=b\n", "a", "c")
	f.Add("spec:\n  containers:\n  - args:\n    - --a=b\n    - --a=b\n", "a", "c")
	f.Add("spec:\n  containers:\n  - args: [--a=1]\n", "a", "2]\n  hostNetwork: true\n")
	f.Add(`{"spec":{"containers":[{"args":["--a=1"]}]}}`, "a", "2\"")
	f.Fuzz(func(t *testing.T, text, name, to string) {
		within.Bounds(t, func() { editedManifest(t, text, name, to) })
	})
}

func editedManifest(t *testing.T, text, name, to string) {
	t.Helper()
	m, err := ParseManifest([]byte(text))
	if err != nil {
		return
	}
	m.Env()
	m.Written().Has("/var/log/x-2026-01-02T03-04-05.678.log")
	for _, p := range m.HostPaths() {
		if host, ok := m.OnHost(p.MountPath); ok && host == "" {
			t.Errorf("%q of the pod is nowhere on the host", p.MountPath)
		}
	}
	was, there := m.Flags().Get(name)
	out, err := m.SetFlag(name, to)
	if err != nil {
		return
	}
	again, err := ParseManifest(out)
	if err != nil || !there {
		t.Fatalf("the edited manifest is not read: %v (the flag was there: %v)\n%q", err, there, out)
	}
	want := m.pod.DeepCopy()
	if c := &want.Spec.Containers[0]; !slices.Contains(append(slices.Clone(c.Command), c.Args...), "--"+name+"="+was) {
		t.Fatalf("--%s=%s was no word", name, was)
	}
	replaceFirst(want, "--"+name+"=", to)
	if diff := cmp.Diff(*want, again.pod); diff != "" {
		t.Errorf("more than --%s was changed:\n%s", name, diff)
	}
	back, err := again.SetFlag(name, was)
	if err != nil || !bytes.Equal(back, []byte(text)) {
		t.Errorf("the way back gives %v\n%q, want\n%q", err, back, text)
	}
}

// replaceFirst gives the first word that begins so another end.
func replaceFirst(pod *corev1.Pod, begin, end string) {
	c := &pod.Spec.Containers[0]
	for _, list := range [][]string{c.Command, c.Args} {
		for i, w := range list {
			if strings.HasPrefix(w, begin) {
				list[i] = begin + end
				return
			}
		}
	}
}

// FuzzClusterConfiguration: kubeadm-config stays what it is but for what is
// changed, can be read after each change, and shows no value of extraEnvs.
func FuzzClusterConfiguration(f *testing.F) {
	f.Add(`apiServer:
  certSANs: [192.0.2.5]
  extraArgs:
  - {name: advertise-address, value: 192.0.2.11}
  extraEnvs:
  - {name: HTTPS_PROXY, value: "http://u:s3cr3t@192.0.2.9"}
apiVersion: kubeadm.k8s.io/v1beta4
etcd:
  local: {dataDir: /var/lib/etcd, extraArgs: [{name: a, value: b}]}
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
scheduler: {}
`)
	f.Add("apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\netcd: {local: {extraArgs: {a: b}}}\napiServer: {extraArgs: {a: b}}\n")
	f.Add("kind: ClusterConfiguration\netcd: &e {local: {}}\nother: *e\n")
	f.Add("kind: ClusterConfiguration\nscheduler: {extraEnvs: &e [{name: A, value: s3cr3t}]}\napiServer: {extraEnvs: *e}\n")
	f.Add("kind: ClusterConfiguration\napiVersion: k/v1beta4\netcd: {local: {extraArgs: [{name: a}]}}\napiServer: []\n")
	f.Add("kind: ClusterConfiguration\na: &a [x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\n")
	f.Fuzz(func(t *testing.T, text string) {
		within.Bounds(t, func() { editedConfiguration(t, text) })
	})
}

// noValueIsShown: of extraEnvs only the names are.
func noValueIsShown(t *testing.T, c ClusterConfiguration) {
	t.Helper()
	shown, err := ParseClusterConfiguration(c.Shown())
	if err != nil {
		t.Fatalf("what is shown is not read: %v\n%s", err, c.Shown())
	}
	for _, of := range Components() {
		envs := child(child(shown.top, of.Section()), ExtraEnvs)
		if envs == nil {
			continue
		}
		for _, env := range envs.Content {
			if v := child(env, "value"); v != nil && v.Value != hidden {
				t.Errorf("a value of extraEnvs is shown:\n%s", shown)
			}
		}
	}
}

func editedConfiguration(t *testing.T, text string) {
	t.Helper()
	c, err := ParseClusterConfiguration(text)
	if err != nil {
		return
	}
	read := func(what string, c ClusterConfiguration) ClusterConfiguration {
		t.Helper()
		again, err := ParseClusterConfiguration(c.String())
		if err != nil {
			t.Fatalf("%s: what was written is not read: %v\n%s", what, err, c)
		}
		if again.String() != c.String() {
			t.Errorf("%s: written again it is another\n%s\n%s", what, c, again)
		}
		return again
	}
	was := read("as it is", c).Clone()
	noValueIsShown(t, c)
	e := c.Clone()
	e.SetControlPlaneEndpoint("192.0.2.5:6443")
	e.AddCertSANs("192.0.2.5")
	e.SetExternalEtcd(ExternalEtcd{[]string{"https://192.0.2.21:2379"}, "/ca", "/crt", "/key"})
	e.DropAdvertiseAddress()
	e = read("edited", e)
	if ext, ok := e.ExternalEtcd(); !ok || e.ControlPlaneEndpoint() != "192.0.2.5:6443" || !slices.Contains(e.CertSANs(), "192.0.2.5") || ext.KeyFile != "/key" {
		t.Errorf("the edits are not in it:\n%s", e)
	}
	if c.String() != was.String() {
		t.Error("an edit of a copy changed the original")
	}
	e.SetEtcdOf(was)
	read("with the etcd block of before", e)
	other, err := ParseClusterConfiguration("kind: ClusterConfiguration\napiVersion: kubeadm.k8s.io/v1beta3\n")
	if err != nil {
		t.Fatal(err)
	}
	other.SetEtcdOf(was)
	read("of another version", other)
	for _, of := range Components() {
		edit := Edit{of, ExtraArgs, "fuzz-only"}
		if c.Has(edit) {
			continue
		}
		e := c.Clone()
		if err := e.SetExtraArg(of, "fuzz-only", []string{"x"}); err != nil && !errors.Is(err, ErrNotExpressible) {
			t.Error(err)
		} else if err == nil && !read("with a flag", e).Has(edit) {
			t.Errorf("the flag is not in it:\n%s", e)
		}
		read("without it", e.Without([]Edit{edit}))
	}
}

// FuzzKubeconfig: the server is replaced alone, and the same edit backward gives
// the bytes back.
func FuzzKubeconfig(f *testing.F) {
	f.Add("apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: AAAA\n    server: https://192.0.2.11:6443\n  name: kubernetes\ncontexts:\n- context: {cluster: kubernetes, user: a}\n  name: a@kubernetes\ncurrent-context: a@kubernetes\nkind: Config\n", "https://192.0.2.5:6443")
	f.Add("clusters: [{cluster: {server: \"https://192.0.2.11:6443\"}}] # one\n", "https://192.0.2.5:6443")
	f.Add("clusters:\n- cluster: &c\n    server: https://a\n  name: a\n- cluster: *c\n  name: b\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: b}}]\n", "https://192.0.2.5:6443")
	f.Fuzz(func(t *testing.T, text, to string) {
		within.Bounds(t, func() {
			was, err := Server([]byte(text))
			if err != nil {
				return
			}
			out, err := SetServer([]byte(text), to)
			if err != nil {
				return
			}
			if back, err := SetServer(out, was); err != nil || string(back) != text {
				t.Errorf("the way back gives %v\n%q, want\n%q", err, back, text)
			}
		})
	})
}
