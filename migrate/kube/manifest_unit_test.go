package kube

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseFlags(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		words []string
		want  Flags
	}{
		"nothing":               {nil, nil},
		"a program alone":       {[]string{"kube-apiserver"}, nil},
		"with an equals sign":   {[]string{"etcd", "--name=cp1"}, Flags{{"name", "cp1"}}},
		"two words":             {[]string{"etcd", "--name", "cp1"}, Flags{{"name", "cp1"}}},
		"one dash":              {[]string{"etcd", "-name", "cp1", "-data-dir=/d"}, Flags{{"name", "cp1"}, {"data-dir", "/d"}}},
		"bare before a flag":    {[]string{"etcd", "--pre-vote", "--name=cp1"}, Flags{{"pre-vote", "true"}, {"name", "cp1"}}},
		"bare at the end":       {[]string{"etcd", "--name=cp1", "--pre-vote"}, Flags{{"name", "cp1"}, {"pre-vote", "true"}}},
		"a value with =":        {[]string{"etcd", "--initial-cluster=a=https://h:1,b=https://h:2"}, Flags{{"initial-cluster", "a=https://h:1,b=https://h:2"}}},
		"an empty value":        {[]string{"etcd", "--log-outputs="}, Flags{{"log-outputs", ""}}},
		"the same one twice":    {[]string{"a", "--v=1", "--v=2"}, Flags{{"v", "1"}, {"v", "2"}}},
		"a word in between":     {[]string{"a", "--v=1", "stray", "--w=2"}, Flags{{"v", "1"}, {"w", "2"}}},
		"a value with a dash":   {[]string{"a", "--offset=-5"}, Flags{{"offset", "-5"}}},
		"a value of two dashes": {[]string{"a", "--sep=--"}, Flags{{"sep", "--"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, ParseFlags(tt.words)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestFlagsGetTakesTheLast(t *testing.T) {
	t.Parallel()
	f := Flags{{"v", "1"}, {"w", ""}, {"v", "2"}}
	if got, ok := f.Get("v"); got != "2" || !ok {
		t.Errorf(`Get("v") = %q, %t`, got, ok)
	}
	if got, ok := f.Get("w"); got != "" || !ok {
		t.Errorf("an empty value is a value: %q, %t", got, ok)
	}
	if _, ok := f.Get("x"); ok {
		t.Error("a flag that is not there was found")
	}
}

func mustManifest(t interface{ Fatal(...any) }, text string) Manifest {
	m, err := ParseManifest([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// oneLine says which line differs; exactly one must.
func oneLine(t interface {
	Helper()
	Fatalf(string, ...any)
}, before, after string) (was, is string) {
	t.Helper()
	a, b := strings.SplitAfter(before, "\n"), strings.SplitAfter(after, "\n")
	if len(a) != len(b) {
		t.Fatalf("%d lines became %d", len(a), len(b))
	}
	n := 0
	for i := range a {
		if a[i] != b[i] {
			was, is, n = a[i], b[i], n+1
		}
	}
	if n != 1 {
		t.Fatalf("%d lines differ, not one", n)
	}
	return was, is
}

// Whichever flag is set to whatever addresses: one line differs, and in it
// only what is behind the equals sign.
func TestSetFlagChangesOneLine(t *testing.T) {
	t.Parallel()
	commented := strings.Replace(kubeadmAPIServer, "    - --etcd-servers=", "    # ours, do not touch: café\n    -    --etcd-servers=", 1)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{kubeadmAPIServer, commented, strings.ReplaceAll(kubeadmAPIServer, "\n", "\r\n"), strings.TrimRight(kubeadmAPIServer, "\n"), "---\n" + kubeadmAPIServer}).Draw(t, "text")
		m := mustManifest(t, text)
		flag := rapid.SampledFrom(m.Flags()).Draw(t, "flag")
		value := rapid.StringMatching(`https://[a-z0-9.]{1,9}:[0-9]{1,5}(,https://[a-z0-9.]{1,9}:[0-9]{1,5}){0,2}`).
			Filter(func(s string) bool { return s != flag.Value }).Draw(t, "value")
		out, err := m.SetFlag(flag.Name, value)
		if err != nil {
			t.Fatal(err)
		}
		was, is := oneLine(t, text, string(out))
		if want := strings.Replace(was, "--"+flag.Name+"="+flag.Value, "--"+flag.Name+"="+value, 1); is != want {
			t.Fatalf("the line is %q, not %q", is, want)
		}
		back, err := mustManifest(t, string(out)).SetFlag(flag.Name, flag.Value)
		if err != nil || string(back) != text {
			t.Fatalf("setting it back does not give the text of before: %v", err)
		}
	})
}

func pod(words string) string {
	return "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: x\n" + words + "    image: i # kept\n"
}

func TestSetFlagKeepsTheStyle(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ words, want string }{
		"double quotes": {"    command: [\"a\", \"--u=1\"] # note\n", "    command: [\"a\", \"--u=2\"] # note\n"},
		"single quotes": {"    command:\n    - a\n    - '--u=1'   # note\n", "    command:\n    - a\n    - '--u=2'   # note\n"},
		"in args":       {"    command: [a]\n    args: [--v=1, --u=1]\n", "    command: [a]\n    args: [--v=1, --u=2]\n"},
		"a longer name": {"    command: [a, --u-u=1, --uu=1, --u=1]\n", "    command: [a, --u-u=1, --uu=1, --u=2]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := mustManifest(t, pod(tt.words)).SetFlag("u", "2")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(pod(tt.want), string(out)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSetFlagRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ words, value string }{
		"a flag that is not there":     {"    command: [a, --v=1]\n", "2"},
		"a flag in two words":          {"    command: [a, --u, \"1\"]\n", "2"},
		"a literal block":              {"    command:\n    - a\n    - |-\n      --u=1\n", "2"},
		"a folded block":               {"    command:\n    - a\n    - >-\n      --u=1\n", "2"},
		"a plain value over two lines": {"    command:\n    - a\n    - --u=1\n      1\n", "2"},
		"quotes over two lines":        {"    command:\n    - a\n    - \"--u=1\n      1\"\n", "2"},
		"an escape":                    {"    command:\n    - a\n    - \"--u=\\x31\"\n", "2"},
		"the same flag twice":          {"    command: [a, --u=1, --u=3]\n", "2"},
		"a comma in a flow list":       {"    command: [a, --u=1]\n", "2,3"},
		"a comment in a plain value":   {"    command:\n    - a\n    - --u=1\n", "2 #3"},
		"a mapping in a plain value":   {"    command:\n    - a\n    - --u=1\n", "2: 3"},
		"a quote in quotes":            {"    command: [a, \"--u=1\"]\n", `2"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out, err := mustManifest(t, pod(tt.words)).SetFlag("u", tt.value); err == nil {
				t.Errorf("it was accepted:\n%s", out)
			}
		})
	}
}

func TestParseManifestRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "spec: {}\n", "spec: {containers: []}\n", "- a\n", "a: [\n", "spec:\n  containers: x\n"} {
		if _, err := ParseManifest([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestHostPaths(t *testing.T) {
	t.Parallel()
	got := mustManifest(t, kubeadmAPIServer).HostPaths()
	for _, want := range []HostPath{
		{"audit-log", "/var/log/kubernetes", false, "/var/log/kubernetes", "DirectoryOrCreate"},
		{"encryption", "/etc/kubernetes/encryption", true, "/etc/kubernetes/encryption", "Directory"},
		{"k8s-certs", "/etc/kubernetes/pki", true, "/etc/kubernetes/pki", "DirectoryOrCreate"},
	} {
		n := 0
		for _, hp := range got {
			if hp == want {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%+v is there %d times", want, n)
		}
	}
}

const kubeconfig = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Q0E=
    server: https://10.88.0.11:6443 # the old one
  name: kubernetes
contexts:
- context: {cluster: kubernetes, user: "kubernetes-admin"}
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
kind: Config
users:
- name: kubernetes-admin
  user: {client-certificate-data: QQ==, client-key-data: Qg==}
`

func TestSetServerChangesOneLine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		quote := rapid.SampledFrom([]string{"", `"`, `'`}).Draw(t, "quote")
		text := strings.Replace(kubeconfig, "https://10.88.0.11:6443", quote+"https://10.88.0.11:6443"+quote, 1)
		url := rapid.StringMatching(`https://[a-z0-9]{1,9}(\.[a-z]{2,5})?:[1-9][0-9]{0,4}`).Draw(t, "url")
		out, err := SetServer([]byte(text), url)
		if err != nil {
			t.Fatal(err)
		}
		if _, is := oneLine(t, text, string(out)); is != "    server: "+quote+url+quote+" # the old one\n" {
			t.Fatalf("the line is %q", is)
		}
		if got, err := Server(out); err != nil || got != url {
			t.Fatalf("Server = %q, %v", got, err)
		}
	})
}
