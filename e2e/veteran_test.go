package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// preflightLimit is what looking at nine hosts may take.
const preflightLimit = 10.0

// preflightOfVeteran: what others were surprised by is no surprise, and none
// of it is in the way.
func preflightOfVeteran(t *testing.T, s *scenario) {
	var report preflighted
	unmarshal(t, s.bin.must(t, 0, planLimit, s.migrate("preflight", "-o", "json")...), &report)
	for _, r := range report.Results {
		if r.Severity == "blocking" {
			t.Errorf("preflight: %s on %s: %s", r.Check, r.Host, r.Seen)
		}
	}
	if report.Seconds > preflightLimit {
		if busy, said := s.canary.overloaded(); !busy {
			t.Errorf("preflight took %.1f s, more than %.0f: %s", report.Seconds, preflightLimit, said)
		}
	}
	t.Logf("preflight: %d results in %.1f s", len(report.Results), report.Seconds)
}

// staticPods are those that every control-plane node has.
var staticPods = []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"}

// noSilentDifference: the joined control-plane nodes run what the first runs.
// Manifests, the processes' arguments and environment, and the files that they
// are pointed at are the same, but for what is a node's own.
func noSilentDifference(t *testing.T, s *scenario) {
	first := s.sideOf(t, "cp1")
	if len(first) != 2*len(staticPods)+1 {
		t.Fatalf("only %d things of cp1 are compared", len(first))
	}
	for _, name := range controlPlanes()[1:] {
		other := s.sideOf(t, name)
		for _, key := range sortedKeys(union(first, other)) {
			a, _ := first[key].(string)
			b, _ := other[key].(string)
			for _, line := range differingLines(a, b) {
				t.Errorf("%s: cp1 (-) and %s (+) differ: %s", key, name, line)
			}
		}
		// Each node has an address in the pods' network, whoever allocates them.
		node, err := s.pg.kube(t, s.pg.endpoint()).CoreV1().Nodes().Get(soon(t), name, metav1.GetOptions{})
		if err != nil || node.Spec.PodCIDR == "" {
			t.Errorf("the Node %s has the pod network %q, error %v", name, node.Spec.PodCIDR, err)
		}
	}
}

// sideOf is what is compared of one control-plane node: texts by what they
// are, with the node's own address and name written as words. What the kubelet
// adds for each Service of the namespace is left out: a pod has those that were
// there when it was made.
func (s *scenario) sideOf(t *testing.T, name string) map[string]any {
	t.Helper()
	h := s.pg.hosts[name]
	own := strings.NewReplacer(h.address, "ADDRESS", "kube-apiserver-"+name, "POD")
	side := map[string]any{}
	for _, pod := range staticPods {
		side["manifest of "+pod] = own.Replace(sortedManifest(t, h.must(t, "cat /etc/kubernetes/manifests/"+pod+".yaml")))
		side["process "+pod] = own.Replace(h.must(t, fmt.Sprintf(`pid=$(pgrep -x "$(echo %[1]s | cut -c1-15)") || exit 1
tr '\0' '\n' </proc/$pid/cmdline | sort
tr '\0' '\n' </proc/$pid/environ | grep -v -E '^([A-Z0-9_]+_(SERVICE_HOST|(SERVICE_)?PORT)(_[A-Z0-9_]+)?|HOSTNAME)=' | sort`, pod)))
	}
	// -L: a link counts as what it leads to. A node has certificates of its own.
	side["files"] = h.must(t, `cd /etc/kubernetes && for d in $(ls -d */ | grep -v -e manifests -e patches -e tmp); do
find -L $d -type f ! -path '*/logs/*' ! -name 'apiserver*' ! -name 'front-proxy-client.*' ! -path 'pki/etcd/server.*' ! -path 'pki/etcd/peer.*' ! -path 'pki/etcd/healthcheck-client.*' \
	! -path 'pki/etcd/ca.key' -exec sha256sum {} +; done | sort -k2`)
	return side
}

// sortedManifest is a static pod as lines in an order of our own: kubeadm and
// whoever edits a manifest have each another.
func sortedManifest(t *testing.T, text string) string {
	t.Helper()
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(text), &pod); err != nil {
		t.Fatalf("reading a manifest: %v", err)
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		withoutProbeHosts(c)
		slices.Sort(c.Command)
		slices.SortFunc(c.Env, func(a, b corev1.EnvVar) int { return strings.Compare(a.Name, b.Name) })
		slices.SortFunc(c.VolumeMounts, func(a, b corev1.VolumeMount) int { return strings.Compare(a.Name, b.Name) })
	}
	slices.SortFunc(pod.Spec.Volumes, func(a, b corev1.Volume) int { return strings.Compare(a.Name, b.Name) })
	return toJSON(t, pod)
}

// withoutProbeHosts leaves out at which of its own addresses a program is asked
// that listens at all of them: kubeadm asks at 127.0.0.1 until it knows of the
// --bind-address (kubeadm: util/staticpod, getProbeAddress), and who writes
// that into a manifest by hand leaves the probes as they are.
func withoutProbeHosts(c *corev1.Container) {
	if !slices.Contains(c.Command, "--bind-address=0.0.0.0") {
		return
	}
	for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if p != nil && p.HTTPGet != nil && p.HTTPGet.Host == "127.0.0.1" {
			p.HTTPGet.Host = ""
		}
	}
}

// zones are the time zones that other programs of a host read, too: the files
// of the package, and which of them is the host's.
func zones(t *testing.T, p *playground) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range controlPlanes() {
		all[name] = p.hosts[name].must(t, `readlink /etc/localtime; cd /usr/share/zoneinfo && find . -type f -exec sha256sum {} + | sort -k2`)
	}
	return all
}

func zonesUnchanged(t *testing.T, s *scenario) {
	if !strings.Contains(s.before.zones["cp1"], "Asia/Tokyo") || !strings.HasPrefix(s.before.zones["cp2"], "/usr/share/zoneinfo/UTC\n") {
		t.Fatal("the hosts had one time zone before: nothing could be written over")
	}
	for name, is := range zones(t, s.pg) {
		if diff := differingLines(s.before.zones[name], is); len(diff) > 0 {
			t.Errorf("time zones of %s:\n%s", name, strings.Join(diff, "\n"))
		}
	}
}

// scraped asks, from a worker, for the metrics of the etcd at an address.
func scraped(t *testing.T, s *scenario, address string) error {
	t.Helper()
	out, err := s.pg.hosts["w1"].run(soon(t), "curl -sf --max-time 5 http://"+address+":2381/metrics | grep -c '^etcd_server_has_leader 1'")
	if err == nil && strings.TrimSpace(out) != "1" {
		return fmt.Errorf("from w1 the metrics at %s:2381 say %q of a leader", address, out)
	}
	return err
}

// metricsOfMembers: who read etcd's metrics before reads them at each member.
func metricsOfMembers(t *testing.T, s *scenario) {
	for _, name := range etcdHosts() {
		if err := scraped(t, s, s.pg.address(name)); err != nil {
			t.Errorf("the metrics of the member on %s: %v", name, err)
		}
	}
}

func metricsOfFirst(t *testing.T, s *scenario) {
	if err := scraped(t, s, s.pg.address("cp1")); err != nil {
		t.Error(err)
	}
}

// auditLogsGrow: each API server writes to the log that its flags name.
func auditLogsGrow(t *testing.T, s *scenario) {
	const log = "/etc/kubernetes/audit/logs/audit.log"
	for _, name := range s.serving() {
		h := s.pg.hosts[name]
		was := h.must(t, "stat -c '%i %s' "+log)
		if err := poll(t.Context(), settle, func(ctx context.Context) error {
			is, err := h.run(ctx, "stat -c '%i %s' "+log)
			if err == nil && is == was {
				return fmt.Errorf("%s is what it was: %s", log, is)
			}
			return err
		}); err != nil {
			t.Errorf("the audit log of %s does not grow: %v", name, err)
		}
		if name != "cp1" && h.must(t, "ls /etc/kubernetes/audit/logs | grep -cvx audit.log || true") != "0\n" {
			t.Errorf("an old log of cp1 was copied to %s", name)
		}
	}
}

// nodeReboots: a joined control-plane node comes back by itself, with the
// socket of another runtime that nobody answers on.
func nodeReboots(t *testing.T, s *scenario) {
	h := s.pg.hosts["cp2"]
	const started = "stat -c %Y /proc/1; test -S /run/cri-dockerd.sock"
	was := h.must(t, started)
	h.must(t, "systemd-run --no-block --quiet systemctl reboot")
	eventually(t, 2*time.Minute, "cp2 to be back after a reboot", func(ctx context.Context) error {
		is, err := h.run(ctx, started)
		if err == nil && is == was {
			return fmt.Errorf("it has not rebooted yet")
		}
		return err
	})
	eventually(t, 3*time.Minute, "the API server of cp2", func(ctx context.Context) error {
		if err := readyz(ctx, s.pg.kubeAnew(t, s.pg.api("cp2"))); err != nil {
			return err
		}
		return nodeReady(ctx, s.pg.kube(t, s.pg.endpoint()), "cp2")
	})
}

// keysComeFromKubeadm: the cluster's CA keys are on a joined node since kubeadm
// put them there, not since somebody copied a folder.
func keysComeFromKubeadm(t *testing.T, s *scenario, stdout string) {
	began := map[string]time.Time{}
	for line := range strings.Lines(stdout) {
		var e struct {
			event
			At time.Time `json:"at"`
		}
		if json.Unmarshal([]byte(line), &e) == nil && e.Kind == "step-started" && e.Step == "controlplane/join" {
			began[e.Target] = e.At
		}
	}
	for _, name := range controlPlanes()[1:] {
		var born int64
		if _, err := fmt.Sscan(s.pg.hosts[name].must(t, "stat -c %W /etc/kubernetes/pki/ca.key"), &born); err != nil || born == 0 || began[name].IsZero() {
			t.Errorf("when ca.key came to %s is not known: %d, the join began %s, error %v", name, born, began[name], err)
			continue
		}
		if at := time.Unix(born, 0); at.Before(since(began[name])) {
			t.Errorf("ca.key is on %s since %s, and its join began %s", name, at, began[name])
		}
	}
}
