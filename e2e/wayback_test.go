package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// serving are the control-plane nodes whose API servers serve at the moment.
func (s *scenario) serving() []string {
	if s.alone {
		return []string{"cp1"}
	}
	return controlPlanes()
}

// outOfOrderIsRefused: a phase on which a later one stands is not undone,
// and the refusal names the command that is to come first.
func outOfOrderIsRefused(t *testing.T, s *scenario) {
	named := regexp.MustCompile("`migrate rollback .*--phase 3`")
	for _, phase := range []string{"1", "2"} {
		r := s.bin.run(t, planLimit, s.migrate("rollback", "--yes", "--phase", phase)...)
		if r.code != 3 || !named.MatchString(r.stderr) {
			t.Errorf("rollback --phase %s while phase 3 stands ended with exit code %d and said: %s", phase, r.code, tail(r.stderr, 10))
		}
	}
}

// wayBackIsShown: the plan of the way back names every phase, shows diffs, and
// blocks nothing.
func wayBackIsShown(t *testing.T, s *scenario) {
	r := s.bin.must(t, 0, planLimit, s.migrate("plan", "--rollback", "-o", "json")...)
	var list []struct {
		Phase   int    `json:"phase"`
		Step    string `json:"step"`
		Blocked string `json:"blocked"`
		Now     string `json:"now"`
		Changes []any  `json:"changes"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		t.Fatalf("reading plan --rollback -o json: %v\n%s", err, tail(r.stdout, 5))
	}
	var order []int
	diffs := 0
	for _, e := range list {
		if !slices.Contains(order, e.Phase) {
			order = append(order, e.Phase)
		}
		if e.Blocked != "" || e.Now == "" {
			t.Errorf("plan --rollback: %s: blocked %q, true now %q", e.Step, e.Blocked, e.Now)
		}
		diffs += len(e.Changes)
	}
	if !slices.Equal(order, []int{3, 2, 1}) || diffs < 10 {
		t.Errorf("plan --rollback goes through the phases %v and shows %d diffs", order, diffs)
	}
}

// back takes one phase back under new writers and wants that no client
// noticed.
func (s *scenario) back(t *testing.T, phase string) {
	t.Helper()
	r := s.bin.must(t, 0, runLimit, s.migrate("rollback", "--yes", "--phase", phase, "--probe-rate", s.probeRate(), "--max-unavailable", tolerated, "-o", "json")...)
	list := events(t, r.stdout)
	if last := list[len(list)-1]; last.Kind != "phase-done" {
		t.Errorf("the last event of the way back is %v", last)
	}
	t.Logf("phase %s was undone in %.0f s", phase, r.seconds)
	s.noFailures(t)
}

// noFailures reads the report: what the program's own probe saw since the
// journal began.
func (s *scenario) noFailures(t *testing.T) {
	t.Helper()
	out := s.bin.must(t, 0, planLimit, s.migrate("report", "--json")...)
	var r report
	if err := json.Unmarshal([]byte(out.stdout), &r); err != nil {
		t.Fatalf("reading report --json: %v\n%s", err, tail(out.stdout, 5))
	}
	all := 0
	for _, p := range r.Probe.Paths {
		all += p.Requests
		for _, k := range p.Kinds {
			s.judge(t, k.Failures, k.Requests, k.Reasons, p.Name+" from "+k.From+", "+k.Kind, k.Failed...)
			if t.Failed() {
				t.Logf("%s from %s, %s: %d requests, p99 %.0f ms, max %.0f ms, sent at most %.0f ms late, %d not judged", p.Name, k.From, k.Kind, k.Requests, k.P99Ms, k.MaxMs, k.MaxLateMs, k.Unjudged)
			}
		}
	}
	t.Logf("%d requests and events so far", all)
}

func phaseThreeBack(t *testing.T, s *scenario) {
	s.writers = append(s.writers, startWriter(t, s.pg, "back-old-address", s.pg.api("cp1")), startWriter(t, s.pg, "back-endpoint", s.pg.endpoint()))
	beside(t, s.pg, s.pg.endpoint(), func() { s.back(t, "3") })
	s.alone = true
	c := s.pg.kube(t, s.pg.api("cp1"))
	for _, name := range []string{"cp2", "cp3"} {
		if _, err := c.CoreV1().Nodes().Get(soon(t), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the Node %s is still there: %v", name, err)
		}
	}
	eventually(t, settle, "one API server behind the kubernetes Service", func(ctx context.Context) error {
		return endpointsAre(ctx, c, s.pg.address("cp1"))
	})
	members := s.pg.members(t)
	if err := sameHistory(soon(t), members, s.before.registry.cluster); err != nil {
		t.Errorf("after phase 3 was undone: %v", err)
	}
}

func phaseTwoBack(t *testing.T, s *scenario) {
	beside(t, s.pg, s.pg.api("cp1"), func() { s.back(t, "2") })
	etcd := s.pg.etcdOn(t, s.pg.hosts["cp1"], "127.0.0.1")
	r, err := etcd.MemberList(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Members) != 1 || r.Members[0].IsLearner || r.Header.ClusterId != s.before.registry.cluster {
		t.Errorf("the members are %v of cluster %x, not one voter of cluster %x", r.Members, r.Header.ClusterId, s.before.registry.cluster)
	}
	for _, name := range etcdHosts() {
		if out := s.pg.hosts[name].must(t, "pgrep -ax etcd; ls -A /var/lib/etcd-external 2>/dev/null | grep -vx lost+found; systemctl is-enabled etcd.service 2>/dev/null; true"); strings.TrimSpace(out) != "" && strings.TrimSpace(out) != "not-found" {
			t.Errorf("%s still has something of etcd:\n%s", name, out)
		}
	}
}

var workersLine = regexp.MustCompile(`(?m)^(\s*workers:).*$`)

func phaseOneBack(t *testing.T, s *scenario) {
	// Its endpoint goes with the load balancer.
	for _, w := range s.writers {
		if strings.Contains(w.name, "endpoint") {
			w.stop()
		}
	}
	// A worker that joined since uses the endpoint, and no list names it.
	r := s.bin.run(t, runLimit, s.migrate("rollback", "--yes", "--phase", "1", "--probe-rate", s.probeRate(), "--max-unavailable", tolerated)...)
	if r.code != 6 || !strings.Contains(r.stderr, "w3, in no list of the spec, is connected to it") {
		t.Errorf("with a worker that nobody knows on the endpoint, rollback --phase 1 ended with exit code %d and said: %s", r.code, tail(r.stderr, 10))
	}
	s.spec = s.specWith(t, workersLine, fmt.Sprintf("${1} [{name: w1, address: %s}, {name: w2, address: %s}, {name: w3, address: %s}]",
		s.pg.address("w1"), s.pg.address("w2"), s.pg.address("w3")))
	s.back(t, "1")
	for _, w := range append(workers(), "w3") {
		eventually(t, settle, "the kubelet to talk to the old address", func(ctx context.Context) error {
			return s.pg.hosts[w].talksOnlyTo(ctx, "kubelet", s.pg.api("cp1"), 6443)
		})
	}
	out := s.bin.must(t, 0, planLimit, s.migrate("report", "--json")...)
	if !strings.Contains(out.stdout, `"result": "rolled-back"`) {
		t.Errorf("after the way back the report says: %s", tail(out.stdout, 3))
	}
}

// asBefore: files, services, listeners, arguments, members and every object
// are what they were, but for what is named.
func asBefore(t *testing.T, s *scenario) {
	compareInventories(t, s.before.inventories, inventories(t, s.pg))
	etcd := s.pg.etcdOn(t, s.pg.hosts["cp1"], "127.0.0.1")
	waitQuiet(t, etcd)
	after := dumpRegistry(t, etcd)
	if after.revision < s.before.registry.revision || after.cluster != s.before.registry.cluster {
		t.Errorf("revision %d of cluster %x: not the history of before, %d of %x", after.revision, after.cluster, s.before.registry.revision, s.before.registry.cluster)
	}
	compareDumps(t, s.before.registry, after, s.allowed(exceptionsBack()))
	for _, key := range sortedKeys(after.values) {
		// Events are a log, which etcd forgets after an hour.
		if _, there := s.before.registry.values[key]; !there && strings.Contains(key, "migrate") && !strings.HasPrefix(key, registry+"events/") {
			t.Errorf("the way back left %s", key)
		}
	}
}

// The place at which the half-way run is killed: the API server's restart, a
// second one and the redirect in place.
const halfWayStep = "etcd/repoint-apiserver"

// halfWayAndBack runs forward again, is killed in the middle of phase 2, and
// goes all the way back from there.
func halfWayAndBack(t *testing.T, s *scenario) {
	s.writers = append(s.writers, startWriter(t, s.pg, "half-way", s.pg.api("cp1")))
	beside(t, s.pg, s.pg.api("cp1"), func() {
		s.killAt(t, halfWayStep, "cp1", time.Second, s.measured("run", "--yes", "-o", "json")...)
		r := s.bin.must(t, 0, runLimit, s.migrate("rollback", "--yes", "--probe-rate", s.probeRate(), "--max-unavailable", tolerated, "-o", "json")...)
		t.Logf("from the middle of phase 2 all was undone in %.0f s", r.seconds)
	})
	s.noFailures(t)
}

// killAt kills a run a moment after a step has begun on a target.
func (s *scenario) killAt(t *testing.T, step, target string, after time.Duration, args ...string) {
	t.Helper()
	here := make(chan struct{})
	p, err := s.bin.start(t.Context(), func(line string) {
		var e event
		if json.Unmarshal([]byte(line), &e) == nil && e.Step == step && e.Target == target && (e.Kind == "step-started" || e.Kind == "step-undoing") {
			select {
			case <-here:
			default:
				close(here)
			}
		}
	}, args...)
	if err != nil {
		t.Fatal(err)
	}
	go p.finish()
	defer p.cmd.Process.Kill()
	if !arrives(t, p, here, step+" on "+target) {
		return
	}
	select { // somewhere in the step's work, not at its edge
	case <-time.After(after):
	case <-p.ended:
	}
	p.cmd.Process.Kill()
	if r := p.finish(); r.code != -1 {
		t.Fatalf("the run ended with exit code %d before it could be killed", r.code)
	}
}
