package page_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate/probe"
	"hamigrate/migrate/report/page"
	"hamigrate/state"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files again")

// at is a time of the migration in this file, in seconds from its begin.
func at(seconds float64) time.Time {
	return time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

// migration tells a story step by step, as a journal would have it.
type migration struct {
	page.Data
	order uint64
}

func (m *migration) log(phase int, step, target string, when float64, to state.Status) {
	m.Log = append(m.Log, state.LogEntry{Seq: uint64(len(m.Log) + 1), At: at(when), Key: state.Key{Phase: phase, Step: step, Target: target}, To: to})
}

func (m *migration) step(phase int, id, title, target string, from, to float64, status state.Status, edits ...state.Edit) {
	m.order++
	m.log(phase, id, target, from, state.Started)
	m.log(phase, id, target, (from+to)/2, state.Applied)
	m.log(phase, id, target, to, state.Verified)
	p := &m.Phases[len(m.Phases)-1]
	rec := state.Record{Key: state.Key{Phase: phase, Step: id, Target: target}, Status: status, Order: m.order, Attempts: 1,
		FirstStarted: at(from), Started: at(from), Applied: at((from + to) / 2), Ended: at(to), Edits: edits}
	if status == state.Undone {
		p.Undone++
	} else {
		p.Did++
		p.Standing = true
	}
	p.Steps = append(p.Steps, page.Step{Record: rec, Title: title, Total: time.Duration((to - from) * 1e9), Waited: time.Duration((to - from) * 6e8)})
}

// flagship is a migration of two phases, eight days apart, the second of
// which failed, was undone and done again.
func flagship() page.Data {
	m := &migration{Data: page.Data{
		Cluster: "flagship", Identity: "6b1c2d3e-0000-4000-8000-123456789abc", KubernetesVersion: "v1.33.13", Strategy: "overlap", Result: "failed",
		Tool: "v1.0.0", StartedAt: at(0), Seconds: 214.3, TwoVoterSeconds: 6.4,
	}}
	days := 8 * 24 * 3600.0
	m.Phases = append(m.Phases, page.Phase{Number: 1, Name: "loadbalancer", Title: "Put a load balancer in front of the API", Why: "Clients that know one address of one machine stop when that machine does.",
		Seconds: 72.1, Begun: at(0), Completed: at(72), Spec: "sha256:5a1b9c", Declaration: "sha256:77aa00112233445566", Tool: "v1.0.0", Found: 1})
	m.step(1, "loadbalancer/serving-certificate", "Add the control-plane endpoint to the API server's certificate", "cp1", 1, 9, state.Verified,
		state.Edit{Object: "cp1:/etc/kubernetes/pki/apiserver.crt", Before: "names: cp1, kubernetes, 10.96.0.1, 10.88.0.11\nsha256:11aa\n", After: "names: cp1, kubernetes, 10.96.0.1, 10.88.0.11, 10.88.0.5\nsha256:22bb\n"})
	m.step(1, "loadbalancer/nginx-stream", "Pass the API through nginx", "lb1", 10, 14, state.Verified,
		state.Edit{Object: "lb1:/etc/nginx/migrate-stream.conf", After: "stream {\n  upstream kubernetes {\n    server 10.88.0.11:6443;\n  }\n}\n"})
	m.step(1, "loadbalancer/kubeadm-config", "Write the endpoint into kubeadm-config", "cluster", 15, 16, state.Verified,
		state.Edit{Object: "ConfigMap kube-system/kubeadm-config", Before: "kind: ClusterConfiguration # ours\ncontrolPlaneEndpoint: \"\"\n", After: "kind: ClusterConfiguration # ours\ncontrolPlaneEndpoint: 10.88.0.5:6443\n"})
	m.step(1, "loadbalancer/kubelet", "Point the kubelet to the endpoint", "w1", 20, 44, state.Verified)
	m.step(1, "loadbalancer/kubelet", "Point the kubelet to the endpoint", "w2", 45, 71, state.Verified)
	m.Runs = append(m.Runs, state.Run{ID: 1, Phase: 1, Who: "ines@ops1", Tool: "v1.0.0", Start: at(0), End: at(72), Result: "done"})

	m.Phases = append(m.Phases, page.Phase{Number: 2, Name: "etcd", Title: "Move etcd to hosts of its own", Why: "The one etcd member is the cluster's only memory; three survive the loss of any one.",
		Seconds: 142.2, Begun: at(days), Spec: "sha256:5a1b9c", Declaration: "sha256:88bb", Tool: "v1.0.1"})
	m.step(2, "etcd/start-member", "Start the member", "e1", days+2, days+30, state.Verified)
	m.step(2, "etcd/repoint-apiserver", "Point the API server to the new members", "cp1", days+40, days+70, state.Undone,
		state.Edit{Object: "cp1:/etc/kubernetes/manifests/kube-apiserver.yaml", Before: "    - --etcd-servers=https://127.0.0.1:2379 # <old> & \"only\"\n", After: "    - --etcd-servers=https://10.88.0.21:2379,https://10.88.0.22:2379\n"})
	m.log(2, "etcd/repoint-apiserver", "cp1", days+71, state.Undoing)
	m.log(2, "etcd/repoint-apiserver", "cp1", days+95, state.Undone)
	m.log(2, "etcd/remove-member", "cluster", days+100, state.Started) // killed
	m.Phases[1].Steps = append(m.Phases[1].Steps, page.Step{Title: "Remove the old member", Record: state.Record{
		Key: state.Key{Phase: 2, Step: "etcd/remove-member", Target: "cluster"}, Status: state.Failed, FailedIn: state.Started, Attempts: 2,
		Error: "etcdserver: re-configuration failed due to not enough started members | <b>", FirstStarted: at(days + 100), Ended: at(days + 140)}})
	m.Runs = append(m.Runs, state.Run{ID: 2, Phase: 2, Who: "jo@laptop", Tool: "v1.0.1", Start: at(days)})
	m.Backups = []page.Backup{{Phase: 2, At: at(days - 3), Folder: "phase-2-20260322", EtcdVersion: "3.5.21", Revision: 182733, Keys: 4112, Files: 41, Bytes: 24_510_000, Hash: "3f9a77c1"}}
	m.HostKeys = []page.HostKey{{Host: "e1", Type: "ssh-ed25519", Fingerprint: "SHA256:8k2y", At: at(days - 60)}}
	m.Probe = measured(days)
	return m.Data
}

// measured are figures of two paths over both runs, with one failed request.
func measured(days float64) *probe.Result {
	series := func(path string, failedAt float64, phase float64) probe.SeriesRecord {
		s := probe.SeriesRecord{Path: path, From: "operator", Kind: probe.NewConnectionRead}
		for t := phase - 60; t < phase+140; t += probe.SlotSeconds {
			c := &s.Run
			if t < phase {
				c = &s.Quiet
			}
			slot := probe.Slot{At: at(t).Unix(), Requests: 100, MaxUs: int32(9000 + int(t*37)%4000)}
			if t == failedAt {
				slot.Failures, slot.MaxUs = 1, 88_000
				c.Failures, c.Reasons, c.Gap = 1, map[string]int{"connection refused": 1}, 50*time.Millisecond
				c.Failed = []probe.Failure{{At: at(t), Reason: "connection refused", Seconds: 0.002, During: "etcd/repoint-apiserver on cp1"}}
			}
			c.Slots = append(c.Slots, slot)
			c.Requests += slot.Requests
			c.SamplesUs = append(c.SamplesUs, 4000, slot.MaxUs)
			c.Max = max(c.Max, time.Duration(slot.MaxUs)*time.Microsecond)
		}
		return s
	}
	r := probe.Results(probe.Record{IntervalMs: 50, Series: []probe.SeriesRecord{series("old-address", -1, 0), series("load-balancer", -1, 0)}},
		probe.Record{IntervalMs: 50, Series: []probe.SeriesRecord{series("old-address", days+70, days), series("load-balancer", -1, days)}})
	return &r
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s (-want +got; `go test ./migrate/report/page -update` writes it again):\n%s", name, diff)
	}
}

func render(t *testing.T, how func(*bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := how(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func html(t *testing.T, d page.Data) []byte {
	return render(t, func(b *bytes.Buffer) error { return page.HTML(b, d) })
}

func markdown(t *testing.T, d page.Data) []byte {
	return render(t, func(b *bytes.Buffer) error { return page.Markdown(b, d) })
}

func TestGolden(t *testing.T) {
	t.Parallel()
	golden(t, "flagship.html", html(t, flagship()))
	golden(t, "flagship.md", markdown(t, flagship()))
}

// TestThePageLoadsNothing: it is sent to people who open it anywhere.
func TestThePageLoadsNothing(t *testing.T) {
	t.Parallel()
	text := string(html(t, flagship()))
	for _, bad := range []string{"<script", "src=", "href=", "url(", "@import", "http://", "https://fonts"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if strings.Contains(text, "<b>\"") || strings.Contains(text, "| <b>") || !strings.Contains(text, "&lt;old&gt; &amp;") {
		t.Error("a text of the cluster is not escaped")
	}
	if strings.Contains(text, "ZgotmplZ") {
		t.Error("a value was refused by the template")
	}
}

// TestBarsStayInTheirChart: whatever lies between two runs, every bar is
// within its lane and a later one never stands before an earlier one.
func TestBarsStayInTheirChart(t *testing.T) {
	t.Parallel()
	c := flagship().Charts()
	if n := len(c.Axis.Breaks()); n != 1 {
		t.Errorf("%d pauses are left out, want the one of eight days", n)
	}
	for _, lane := range append(c.Hosts, c.Availability...) {
		last := -1.0
		for _, b := range lane.Bars {
			if b.X < last || b.X < 0 || b.X+b.W > 1004 || b.Y < 0 || b.Y+b.H > 40 {
				t.Errorf("%s: %+v after %.1f", lane.Name, b, last)
			}
			last = b.X
		}
	}
	if last := c.Hosts[len(c.Hosts)-1].Name; last != "cluster" {
		t.Errorf("the last lane is %s", last)
	}
	var bad int
	for _, b := range c.Availability[0].Bars {
		if b.Class == "bad" {
			bad++
		}
	}
	if bad != 1 {
		t.Errorf("%d slots with a failure are drawn, want 1", bad)
	}
}

// TestWithoutMeasurement: nothing measured is not nothing failed.
func TestWithoutMeasurement(t *testing.T) {
	t.Parallel()
	d := flagship()
	d.Probe = nil
	for name, text := range map[string]string{"page": string(html(t, d)), "record": string(markdown(t, d))} {
		if !strings.Contains(text, "Nothing was measured") || !strings.Contains(text, "requests: nothing was measured") || strings.Contains(text, "requests of the API") {
			t.Errorf("the %s makes figures of nothing", name)
		}
	}
	// A journal of before there were slots has figures and no chart.
	old := flagship()
	for i := range old.Probe.Paths {
		old.Probe.Paths[i].Slots, old.Probe.Paths[i].QuietSlots = nil, nil
	}
	if text := string(html(t, old)); strings.Contains(text, "chart tall") && strings.Contains(text, "full height is") || !strings.Contains(text, "load-balancer") {
		t.Error("the page of an old journal has a chart, or no table")
	}
}

// TestSlotsAreNotInTheContract: the JSON of a report stays as it is.
func TestSlotsAreNotInTheContract(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(flagship().Probe)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.ToLower(string(data)), "slots") {
		t.Error("the report's JSON has slots")
	}
}

// TestState: what a rollback leaves for a reason is nothing to go back from.
func TestState(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]page.Phase{
		"done":         {Completed: at(1), Did: 3, Undone: 1, Standing: true}, // a step of another strategy was undone once
		"undone":       {Did: 2, Undone: 3},
		"not finished": {Did: 2, Undone: 3, Standing: true},
	} {
		if got := p.State(); got != want {
			t.Errorf("%+v is %s, want %s", p, got, want)
		}
	}
	d := page.Data{Result: "failed", Phases: []page.Phase{{Number: 1, Did: 2, Completed: at(1), Standing: true}, {Number: 3, Did: 2, Undone: 3}}}
	if text := string(markdown(t, d)); !strings.Contains(text, "rollback --phase 1") || strings.Contains(text, "rollback --phase 3") {
		t.Errorf("the way back of:\n%s", text)
	}
}

// TestFences: a diff with a fence in it stays in its block.
func TestFences(t *testing.T) {
	t.Parallel()
	d := page.Data{Phases: []page.Phase{{Steps: []page.Step{{Title: "x", Record: state.Record{Edits: []state.Edit{{Object: "o", Before: "a\n", After: "```\nb\n"}}}}}}}}
	if text := string(markdown(t, d)); !strings.Contains(text, "````diff\n") || !strings.Contains(text, "\n````\n") {
		t.Errorf("got:\n%s", text)
	}
}
