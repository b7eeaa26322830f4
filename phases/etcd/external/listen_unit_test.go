package external

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// localManifest is what kubeadm writes for an etcd that an operator keeps on
// localhost.
const localManifest = `apiVersion: v1
kind: Pod
metadata:
  annotations:
    kubeadm.kubernetes.io/etcd.advertise-client-urls: https://10.88.0.11:2379
  name: etcd
  namespace: kube-system
spec:
  containers:
  - command:
    - etcd
    - --data-dir=/var/lib/etcd
    - --feature-gates=InitialCorruptCheck=true
    - --name=cp1
    - --listen-client-urls=https://127.0.0.1:2379
    - --listen-peer-urls=https://127.0.0.1:2380
    - --initial-advertise-peer-urls=https://127.0.0.1:2380
    - --initial-cluster=cp1=https://127.0.0.1:2380
    image: registry.k8s.io/etcd:3.6.8-0
    name: etcd
status: {}
`

func manifestOf(t interface{ Fatal(...any) }, text string) kube.Manifest {
	m, err := kube.ParseManifest([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var cp1 = cluster.Host{Name: "cp1", Address: "10.88.0.11"}

// The step and what it tells people to type must write the same bytes.
func TestWithListener(t *testing.T) {
	t.Parallel()
	want := strings.NewReplacer("--listen-peer-urls=https://127.0.0.1:2380\n", "--listen-peer-urls=https://127.0.0.1:2380,https://10.88.0.11:2380\n",
		"--initial-advertise-peer-urls=https://127.0.0.1:2380\n", "--initial-advertise-peer-urls=https://10.88.0.11:2380\n").Replace(localManifest)
	got, err := withListener(manifestOf(t, localManifest), cp1)
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	script := regexp.MustCompile(`(?m)^sed (.*) \$HOME`).FindStringSubmatch(strings.ReplaceAll(listenByHand(), "{{.First.Address}}", cp1.Address))
	if script == nil {
		t.Fatalf("no sed in\n%s", listenByHand())
	}
	command := exec.CommandContext(t.Context(), "/bin/sh", "-c", "sed "+script[1])
	command.Stdin = strings.NewReader(localManifest)
	byHand, err := command.Output()
	if diff := cmp.Diff(want, string(byHand)); diff != "" || err != nil {
		t.Errorf("by hand: %v (-want +got)\n%s", err, diff)
	}
}

func TestWithListenerOfOtherShapes(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, old, new, want string }{
		{"the flag is quoted", "- --listen-peer-urls=https://127.0.0.1:2380", `- "--listen-peer-urls=https://127.0.0.1:2380"`, "https://127.0.0.1:2380,https://10.88.0.11:2380"},
		{"another port", "- --listen-peer-urls=https://127.0.0.1:2380", "- --listen-peer-urls=https://127.0.0.1:12380", "https://127.0.0.1:12380,https://10.88.0.11:2380"},
		{"nothing is advertised", "    - --initial-advertise-peer-urls=https://127.0.0.1:2380\n", "", "https://127.0.0.1:2380,https://10.88.0.11:2380"},
		{"two words", "- --listen-peer-urls=https://127.0.0.1:2380", "- --listen-peer-urls\n    - https://127.0.0.1:2380", ""},
		{"no such flag", "    - --listen-peer-urls=https://127.0.0.1:2380\n", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(localManifest, test.old, test.new, 1)
			if text == localManifest {
				t.Fatal("the manifest is the same")
			}
			data, err := withListener(manifestOf(t, text), cp1)
			if test.want == "" {
				if err == nil {
					t.Errorf("it became\n%s", data)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := manifestOf(t, string(data)).Flags().Get(listenPeers); got != test.want {
				t.Errorf("got %s", got)
			}
		})
	}
}

// Another data folder or name would be another member.
func TestWithListenerKeepsAllElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := strings.SplitAfter(localManifest, "\n")
		from := 0
		for !strings.Contains(lines[from], "--data-dir") {
			from++
		}
		flags := rapid.Permutation(lines[from:from+7]).Draw(t, "flags")
		comment := rapid.SampledFrom([]string{"", "    # --listen-peer-urls=x\n", "    - --listen-metrics-urls=http://127.0.0.1:2381 # kept\n"}).Draw(t, "line")
		text := strings.Join(lines[:from], "") + comment + strings.Join(flags, "") + strings.Join(lines[from+7:], "")
		data, err := withListener(manifestOf(t, text), cp1)
		if err != nil {
			t.Fatal(err)
		}
		before, after := strings.Split(text, "\n"), strings.Split(string(data), "\n")
		if len(before) != len(after) {
			t.Fatalf("%d lines became %d", len(before), len(after))
		}
		changed := 0
		for i := range before {
			if before[i] == after[i] {
				continue
			}
			changed++
			if !strings.HasPrefix(before[i], "    - --listen-peer-urls=") && !strings.HasPrefix(before[i], "    - --initial-advertise-peer-urls=") {
				t.Errorf("%q became %q", before[i], after[i])
			}
		}
		if changed != 2 {
			t.Errorf("%d lines changed", changed)
		}
	})
}

func TestLocalOnly(t *testing.T) {
	t.Parallel()
	for urls, want := range map[string]bool{
		"https://127.0.0.1:2380": true, "https://localhost:2380": true, "https://[::1]:2380": true, "": true,
		"https://10.88.0.11:2380": false, "https://127.0.0.1:2380, https://10.88.0.11:2380": false,
		"https://0.0.0.0:2380": false, "https://[::]:2380": false,
	} {
		if got := localOnly(manifestOf(t, strings.Replace(localManifest, "--listen-peer-urls=https://127.0.0.1:2380", `--listen-peer-urls=`+urls, 1))); got != want {
			t.Errorf("%q: got %t", urls, got)
		}
	}
}
