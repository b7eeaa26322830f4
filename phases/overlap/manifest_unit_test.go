package overlap

import (
	"slices"
	"strings"
	"testing"

	"hamigrate/migrate/kube"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

func parsePod(t *testing.T, data []byte) corev1.Pod {
	t.Helper()
	var p corev1.Pod
	if err := yaml.UnmarshalStrict(data, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func manifestOf(t *testing.T, live string, flags map[string]string) (corev1.Pod, kube.Flags) {
	t.Helper()
	out, err := Manifest([]byte(live), flags, Node{Drops: true})
	if err != nil {
		t.Fatal(err)
	}
	p := parsePod(t, out)
	return p, kube.ParseFlags(p.Spec.Containers[0].Command)
}

// changed is live with one text in it replaced.
func changed(t *testing.T, old, by string) string {
	t.Helper()
	if !strings.Contains(kubeadmAPIServer, old) {
		t.Fatalf("the manifest does not hold %q", old)
	}
	return strings.Replace(kubeadmAPIServer, old, by, 1)
}

func TestManifestOfKubeadms(t *testing.T) {
	t.Parallel()
	live := parsePod(t, []byte(kubeadmAPIServer))
	p, _ := manifestOf(t, kubeadmAPIServer, nil)
	c := p.Spec.Containers[0]
	if p.Name != podName || p.Namespace != "kube-system" || c.Name != podName {
		t.Errorf("it is called %s/%s, container %s", p.Namespace, p.Name, c.Name)
	}
	if diff := cmp.Diff(map[string]string{"component": podName}, p.Labels); diff != "" {
		t.Errorf("labels: %s", diff)
	}
	if len(p.Annotations) != 0 {
		t.Errorf("it has annotations: %v", p.Annotations)
	}
	if len(c.Ports) != 1 || c.Ports[0].ContainerPort != Port {
		t.Errorf("ports: %+v", c.Ports)
	}
	for i, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		was := []*corev1.Probe{live.Spec.Containers[0].LivenessProbe, live.Spec.Containers[0].ReadinessProbe, live.Spec.Containers[0].StartupProbe}[i]
		if probe.HTTPGet.Port.IntValue() != Port {
			t.Errorf("probe %d asks port %s", i, probe.HTTPGet.Port.String())
		}
		probe.HTTPGet.Port = was.HTTPGet.Port
		if diff := cmp.Diff(was, probe); diff != "" {
			t.Errorf("probe %d differs in more than its port: %s", i, diff)
		}
	}
	if c.Args != nil || c.Command[0] != "kube-apiserver" {
		t.Errorf("command %v, args %v", c.Command, c.Args)
	}
	// Everything that decides what it is and may do is the live one's.
	was := live.Spec.Containers[0]
	if diff := cmp.Diff(was.VolumeMounts, c.VolumeMounts); diff != "" || c.Image != was.Image {
		t.Errorf("image %s, mounts: %s", c.Image, diff)
	}
	live.Spec.Containers, p.Spec.Containers = nil, nil
	if diff := cmp.Diff(live.Spec, p.Spec); diff != "" {
		t.Errorf("the pod differs: %s", diff)
	}
}

func TestManifestFlags(t *testing.T) {
	t.Parallel()
	live := kube.ParseFlags(parsePod(t, []byte(kubeadmAPIServer)).Spec.Containers[0].Command)
	_, temporary := manifestOf(t, kubeadmAPIServer, map[string]string{"etcd-servers": "https://10.88.0.21:2379", "added": "x"})
	want := map[string]string{
		"secure-port": "6444", "endpoint-reconciler-type": "none", "shutdown-delay-duration": "0s",
		"feature-gates":  "APIServerIdentity=false,UnknownVersionInteroperabilityProxy=false",
		"audit-log-path": "/var/log/kubernetes/migrate-twin-audit.log",
		"etcd-servers":   "https://10.88.0.21:2379", "added": "x",
	}
	for _, f := range live {
		if _, ok := want[f.Name]; !ok {
			want[f.Name] = f.Value
		}
	}
	got := map[string]string{}
	for _, f := range temporary {
		if _, twice := got[f.Name]; twice {
			t.Errorf("--%s is there twice", f.Name)
		}
		got[f.Name] = f.Value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestManifestWithoutDropping: where the node has no nft, the second API server
// sends its clients on by itself, for long enough.
func TestManifestWithoutDropping(t *testing.T) {
	t.Parallel()
	out, err := Manifest([]byte(kubeadmAPIServer), nil, Node{})
	if err != nil {
		t.Fatal(err)
	}
	flags := kube.ParseFlags(parsePod(t, out).Spec.Containers[0].Command)
	for name, want := range map[string]string{"shutdown-delay-duration": "15s", "goaway-chance": "0.02"} {
		if got, _ := flags.Get(name); got != want {
			t.Errorf("--%s=%s, not %s", name, got, want)
		}
	}
}

func TestManifestOfOthers(t *testing.T) {
	t.Parallel()
	const port = "    - --secure-port=6443\n"
	for name, tt := range map[string]struct {
		live, flag, want string
		override         map[string]string
	}{
		"other gates are kept":           {changed(t, port, port+"    - --feature-gates=A=true,B=false\n"), "feature-gates", "A=true,B=false,APIServerIdentity=false,UnknownVersionInteroperabilityProxy=false", nil},
		"a contradicting gate is gone":   {changed(t, port, port+"    - --feature-gates=APIServerIdentity=true,B=false\n"), "feature-gates", "B=false,APIServerIdentity=false,UnknownVersionInteroperabilityProxy=false", nil},
		"audit to standard output":       {changed(t, "--audit-log-path=/var/log/kubernetes/audit.log", "--audit-log-path=-"), "audit-log-path", "-", nil},
		"another reconciler":             {changed(t, port, port+"    - --endpoint-reconciler-type=lease\n"), "endpoint-reconciler-type", "none", nil},
		"it has no delay":                {changed(t, port, port+"    - --shutdown-delay-duration=60s\n"), "shutdown-delay-duration", "0s", nil},
		"it answers 503 nowhere":         {changed(t, port, port+"    - --shutdown-send-retry-after=true\n"), "shutdown-send-retry-after", "false", nil},
		"another port":                   {changed(t, port, "    - --secure-port=443\n"), "secure-port", "6444", nil},
		"a port in two words":            {changed(t, port, "    - --secure-port\n    - \"443\"\n"), "secure-port", "6444", nil},
		"an override of what is set":     {kubeadmAPIServer, "shutdown-delay-duration", "9s", map[string]string{"shutdown-delay-duration": "9s"}},
		"the issuer, spelt in two words": {changed(t, "--service-account-issuer=https://kubernetes.default.svc.cluster.local", "--service-account-issuer\n    - https://a"), "service-account-issuer", "https://a", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, flags := manifestOf(t, tt.live, tt.override)
			var got []string
			for _, f := range flags {
				if f.Name == tt.flag {
					got = append(got, f.Value)
				}
			}
			if diff := cmp.Diff([]string{tt.want}, got); diff != "" {
				t.Errorf("--%s (-want +got)\n%s", tt.flag, diff)
			}
		})
	}
}

// A flag that may be given several times (issuers, key files) stays so.
func TestManifestKeepsRepeatedFlags(t *testing.T) {
	t.Parallel()
	const issuer = "    - --service-account-issuer=https://kubernetes.default.svc.cluster.local\n"
	_, flags := manifestOf(t, changed(t, issuer, issuer+"    - --service-account-issuer=https://old.example\n"), nil)
	var got []string
	for _, f := range flags {
		if f.Name == "service-account-issuer" {
			got = append(got, f.Value)
		}
	}
	if diff := cmp.Diff([]string{"https://kubernetes.default.svc.cluster.local", "https://old.example"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestManifestAsksForNoCPU(t *testing.T) {
	t.Parallel()
	p, _ := manifestOf(t, changed(t, "        cpu: 250m\n", "        cpu: 250m\n        memory: 1Gi\n        ephemeral-storage: 1Gi\n"), nil)
	requests := p.Spec.Containers[0].Resources.Requests
	if _, ok := requests[corev1.ResourceCPU]; ok || len(requests) != 2 || requests.Memory().String() != "1Gi" {
		t.Errorf("requests: %v", requests)
	}
	withCPU, err := Manifest([]byte(kubeadmAPIServer), nil, Node{CPU: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := parsePod(t, withCPU).Spec.Containers[0].Resources.Requests.Cpu().MilliValue(); got != 250 {
		t.Errorf("with room for it, it asks for %d millicores", got)
	}
	p, _ = manifestOf(t, changed(t, "    resources:\n      requests:\n        cpu: 250m\n", ""), nil)
	if len(p.Spec.Containers[0].Resources.Requests) != 0 {
		t.Errorf("requests: %v", p.Spec.Containers[0].Resources.Requests)
	}
}

func TestManifestRefuses(t *testing.T) {
	t.Parallel()
	for name, live := range map[string]string{
		"two containers":                changed(t, "  hostNetwork: true\n", "  - name: sidecar\n    image: i\n  hostNetwork: true\n"),
		"no container":                  "apiVersion: v1\nkind: Pod\nspec: {}\n",
		"no YAML":                       "a: [",
		"nothing":                       "",
		"no program":                    changed(t, "    - kube-apiserver\n", ""),
		"a container that runs nothing": "spec: {containers: [{name: a}]}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out, err := Manifest([]byte(live), nil, Node{}); err == nil {
				t.Errorf("it was accepted:\n%s", out)
			}
		})
	}
}

// What is set is there once and last, what else was there is kept in order.
func TestMergeGates(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		gate := rapid.StringMatching(`[A-D]{1,2}=(true|false)`)
		have, set := rapid.SliceOf(gate).Draw(t, "have"), rapid.SliceOfNDistinct(gate, 1, 3, gateName).Draw(t, "set")
		var want []string
		for _, g := range have {
			if !slices.ContainsFunc(set, func(s string) bool { return gateName(s) == gateName(g) }) {
				want = append(want, g)
			}
		}
		if got := mergeGates(strings.Join(have, ","), set...); got != strings.Join(append(want, set...), ",") {
			t.Fatalf("got %s", got)
		}
	})
	if got := mergeGates("A=true,,", "B=true"); got != "A=true,B=true" {
		t.Errorf("got %s", got)
	}
}

func gateName(g string) string { name, _, _ := strings.Cut(g, "="); return name }
