package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Bounds of a run; on an idle machine a whole one takes 3 minutes.
const (
	phaseLimit = 8 * time.Minute
	runLimit   = 15 * time.Minute
)

// The place at which a run is killed: two voters and a learner, the most
// delicate moment there is.
const (
	killAtStep   = "etcd/promote"
	killAtTarget = "e2"
)

// tolerated keeps a run from stopping at the first request that is late: what
// failed is judged at the end, by judge.
const tolerated = "30s"

// blindShare is how many requests of a hundred the probe may leave out because
// it got no processor itself.
const blindShare = 5

// measured are the arguments of a run with a shorter quiet time and a higher
// rate than people want.
func (s *scenario) measured(command string, more ...string) []string {
	return s.migrate(command, append([]string{"--quiet", "10s", "--probe-rate", s.probeRate(), "--max-unavailable", tolerated}, more...)...)
}

func runPhaseOne(t *testing.T, s *scenario) {
	s.writers = append(s.writers, startWriter(t, s.pg, "old-address", s.pg.api("cp1")))
	s.bin.must(t, 0, phaseLimit, s.measured("run", "--yes", "--phase", "1")...)
	s.noteStream(t)
	if err := readyz(soon(t), s.pg.kubeAnew(t, s.pg.endpoint())); err != nil {
		t.Fatalf("after phase 1 the API does not answer through the endpoint: %v", err)
	}
	s.writers = append(s.writers, startWriter(t, s.pg, "endpoint", s.pg.endpoint()))
	etcd := s.pg.etcdOn(t, s.pg.hosts["cp1"], "127.0.0.1")
	r, err := etcd.MemberList(soon(t))
	if err != nil || len(r.Members) != 1 {
		t.Fatalf("--phase 1 is to leave etcd alone, and its members are %v, error %v", r, err)
	}
}

// killInPhaseTwo runs on and kills the run at a fixed place. A second run
// that is started while it is at work is locked out.
func killInPhaseTwo(t *testing.T, s *scenario) {
	inPhaseTwo, killHere := make(chan struct{}), make(chan struct{})
	beginsPhaseTwo := sync.OnceFunc(func() { close(inPhaseTwo) })
	isDelicate := sync.OnceFunc(func() { close(killHere) })
	p, err := s.bin.start(t.Context(), func(line string) {
		var e event
		if json.Unmarshal([]byte(line), &e) != nil || e.Phase != 2 || e.Kind != "step-started" {
			return
		}
		beginsPhaseTwo()
		if e.Step == killAtStep && e.Target == killAtTarget {
			isDelicate()
		}
	}, s.measured("run", "--yes", "-o", "json")...)
	if err != nil {
		t.Fatal(err)
	}
	go p.finish()
	defer p.cmd.Process.Kill()
	if !arrives(t, p, inPhaseTwo, "phase 2") {
		return
	}
	locked := s.bin.run(t, time.Minute, s.migrate("run", "--yes")...)
	if locked.code != 7 {
		t.Errorf("a second run at the same time ended with exit code %d, not 7: %s", locked.code, tail(locked.stderr, 5))
	}
	if !arrives(t, p, killHere, killAtStep+" on "+killAtTarget) {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.killed = time.Now()
	if r := p.finish(); r.code != -1 {
		t.Fatalf("the run ended with exit code %d before it could be killed", r.code)
	}
}

// arrives waits until a run has come to a place; one that ends before fails
// the stage.
func arrives(t *testing.T, p *process, place <-chan struct{}, name string) bool {
	t.Helper()
	select {
	case <-place:
		return true
	case <-p.ended:
	case <-time.After(phaseLimit):
	}
	t.Fatalf("the run did not come to %s; it said last:\n%s\n%s", name, tail(p.stdout.String(), 5), tail(p.stderr.String(), 10))
	return false
}

var binaryLine = regexp.MustCompile(`(?m)^(\s*binary:).*$`)

func changedSpecIsRefused(t *testing.T, s *scenario) {
	members := func() string {
		r, err := s.pg.etcdOn(t, s.pg.hosts["cp1"], "127.0.0.1").MemberList(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		return toJSON(t, r.Members)
	}
	was := members()
	r := s.bin.run(t, planLimit, s.migrateWith(s.specWith(t, binaryLine, "${1} preinstalled"), "run", "--yes")...)
	if r.code != 1 && r.code != 3 || !strings.Contains(r.stderr, "spec") {
		t.Errorf("a run with another spec in the middle of phase 2 ended with exit code %d and said: %s", r.code, tail(r.stderr, 5))
	}
	if is := members(); is != was {
		t.Errorf("the refused run changed the members:\n%s", strings.Join(differingLines(was, is), "\n"))
	}
}

// seededKills is one small round of what TestChaos does at length: the rest of
// phase 2 is killed at points that SEED chooses, and carried on each time.
func seededKills(t *testing.T, s *scenario) {
	const kills = 1 // make chaos has many
	seed := seedOf(t)
	leg := legID{phase: 2}
	steps := s.stepsOf(t, leg)
	var shots []shot
	for _, p := range choose(rand.New(rand.NewPCG(seed, 0)), leg, steps, kills) {
		shots = append(shots, shot{p, killed})
	}
	d := newDrive(s, leg, steps, shots, func(said string) { t.Log(said) })
	d.args = append(d.args, "--probe-rate", s.probeRate())
	d.heard = func(e event) {
		if s.stood == 0 && e.Kind == "step-started" {
			s.stood = time.Since(s.killed)
		}
	}
	d.toEnd(t)
	for _, r := range d.rows[1:] {
		t.Logf("SEED=%d: %s, after %s: carried on in %.1f s", seed, r.what(), r.landed, r.resumed.Seconds())
		s.stood += r.resumed
		if len(r.codes) > 0 {
			t.Errorf("after %s it took runs that ended with the exit codes %s to carry on: %s", r.what(), r.codesText(), r.said)
		}
	}
}

// wholeRun is a run that nothing happens to.
func wholeRun(t *testing.T, s *scenario) {
	s.writers = append(s.writers, startWriter(t, s.pg, "old-address", s.pg.api("cp1")))
	beside(t, s.pg, s.pg.api("cp1"), func() {
		r := s.bin.must(t, 0, runLimit, s.measured("run", "--yes", "-o", "json")...)
		t.Logf("a whole run took %.0f s", r.seconds)
	})
	s.noteStream(t)
	s.noFailures(t)
}

// carryOn runs again after the kills, to the end.
func carryOn(t *testing.T, s *scenario) {
	r := s.bin.must(t, 0, runLimit, s.measured("run", "--yes", "-o", "json")...)
	list := events(t, r.stdout)
	for _, e := range list {
		again := e.Phase == 1 || e.Phase == 2 && e.Step == "etcd/add-learner" && e.Target == killAtTarget
		if again && e.Kind == "step-started" {
			t.Errorf("%s on %s was done before the kill, and was done again", e.Step, e.Target)
		}
	}
	if last := list[len(list)-1]; last.Kind != "phase-done" || last.Phase != 3 {
		t.Errorf("the last event of the run is %v, not the end of phase 3", last)
	}
	keysComeFromKubeadm(t, s, r.stdout)
}

// nothingLeft: a run that is done has nothing to do, and says so.
func nothingLeft(t *testing.T, s *scenario) {
	r := s.bin.must(t, 0, phaseLimit, s.migrate("run", "--yes", "-o", "json")...)
	for _, e := range events(t, r.stdout) {
		if e.Kind == "step-started" {
			t.Errorf("a run after the last one did %s on %s again", e.Step, e.Target)
		}
	}
	for _, p := range s.plan(t, 0) {
		if p.Finding.Verdict != "satisfied" {
			t.Errorf("plan after the last run: %s on %s is %s: %s", p.Step, p.Target, p.Finding.Verdict, p.Finding.Reason)
		}
	}
	s.bin.must(t, 0, planLimit, s.migrate("status", "-o", "json")...)
	checkReport(t, s)
}

// report is the contract of `report --json`, as far as there is something to
// be said about a run without a probe.
type report struct {
	Cluster           string    `json:"cluster"`
	KubernetesVersion string    `json:"kubernetesVersion"`
	Strategy          string    `json:"strategy"`
	StartedAt         time.Time `json:"startedAt"`
	Seconds           float64   `json:"seconds"`
	Phases            []struct {
		Phase   int     `json:"phase"`
		Name    string  `json:"name"`
		Seconds float64 `json:"seconds"`
		Steps   []struct {
			ID      string  `json:"id"`
			Node    string  `json:"node"`
			Status  string  `json:"status"`
			Seconds float64 `json:"seconds"`
		} `json:"steps"`
	} `json:"phases"`
	TwoVoterSeconds float64 `json:"twoVoterSeconds"`
	Probe           *probed `json:"probe"`
	Result          string  `json:"result"`
}

// probed is what clients saw.
type probed struct {
	Paths []struct {
		Name     string `json:"name"`
		Requests int    `json:"requests"`
		Failures int    `json:"failures"`
		Kinds    []struct {
			Kind         string         `json:"kind"`
			From         string         `json:"from"`
			Requests     int            `json:"requests"`
			Failures     int            `json:"failures"`
			Retries      int            `json:"retries"`
			Skipped      int            `json:"skipped"`
			Unjudged     int            `json:"unjudged"`
			Reasons      map[string]int `json:"reasons"`
			Failed       []failedOne    `json:"failed"`
			QuietP99Ms   *float64       `json:"quietP99Ms"`
			P99Ms        float64        `json:"p99Ms"`
			MaxMs        float64        `json:"maxMs"`
			MaxLateMs    float64        `json:"maxLateMs"`
			MissedEvents *int           `json:"missedEvents"`
		} `json:"kinds"`
	} `json:"paths"`
}

// failedOne is one failed request of a report.
type failedOne struct {
	At         time.Time `json:"at"`
	Reason     string    `json:"reason"`
	Seconds    float64   `json:"seconds"`
	Connection string    `json:"connection"`
	During     string    `json:"during"`
}

func checkReport(t *testing.T, s *scenario) {
	t.Helper()
	out := s.bin.must(t, 0, planLimit, s.migrate("report", "--json")...)
	var r report
	if err := json.Unmarshal([]byte(out.stdout), &r); err != nil {
		t.Fatalf("reading report --json: %v\n%s", err, tail(out.stdout, 5))
	}
	if r.Cluster != s.name || strings.TrimPrefix(r.KubernetesVersion, "v") != s.kubernetes || r.Strategy == "" || r.Result != "done" || r.Seconds <= 0 || r.StartedAt.Before(s.before.at) {
		t.Errorf("the report's head is wrong: %s, %s, strategy %q, result %q, %.0f s from %s", r.Cluster, r.KubernetesVersion, r.Strategy, r.Result, r.Seconds, r.StartedAt)
	}
	var names []string
	for _, p := range r.Phases {
		names = append(names, p.Name)
		if p.Seconds <= 0 || len(p.Steps) == 0 {
			t.Errorf("the report has phase %d with %.0f s and %d steps", p.Phase, p.Seconds, len(p.Steps))
		}
		for _, st := range p.Steps {
			if st.ID == "" || st.Node == "" || st.Status != "verified" && st.Status != "satisfied" {
				t.Errorf("the report says of step %q on %q that it is %q", st.ID, st.Node, st.Status)
			}
		}
	}
	if want := []string{"loadbalancer", "etcd", "controlplane"}; !slices.Equal(names, want) {
		t.Errorf("the report has the phases %v, not %v", names, want)
	}
	// The run may have been killed in that very moment: then nobody promoted
	// the next member until it was carried on.
	if most := 30 + s.stood.Seconds(); r.TwoVoterSeconds <= 0 || r.TwoVoterSeconds > most {
		t.Errorf("the report says that etcd had two voters for %.1f s; at most %.1f s were expected", r.TwoVoterSeconds, most)
	}
	checkProbe(t, s, r)
}

// judge fails for requests that failed. Where they were late and nothing else,
// and few, and the machine was too busy to answer anybody in time, it says so
// instead.
func (s *scenario) judge(t *testing.T, failures, requests int, reasons map[string]int, what string, each ...failedOne) {
	t.Helper()
	if failures == 0 {
		return
	}
	if busy, said := s.canary.overloaded(); busy && lateOnly(reasons) && 100*failures <= lateShare*requests {
		t.Logf("%d of %d were late on a machine that did not keep up (%s): %s", failures, requests, said, what)
		return
	}
	said := fmt.Sprintf("%d of %d failed: %s: %v", failures, requests, what, reasons)
	for _, f := range each {
		said += fmt.Sprintf("\n\tsent at %s, known after %.1f s, on %s, during %s: %s", f.At.Format("15:04:05.000"), f.Seconds, f.Connection, f.During, f.Reason)
	}
	s.refused = append(s.refused, said)
	t.Error(said)
}

// checkProbe wants that no client noticed anything: not one failed request,
// not one missed event, on any path, through a kill in the middle.
func checkProbe(t *testing.T, s *scenario, r report) {
	t.Helper()
	if r.Probe == nil {
		t.Fatal("the report says nothing of what clients saw")
	}
	all := 0
	var seen []string
	for _, p := range r.Probe.Paths {
		all += p.Requests
		for _, k := range p.Kinds {
			seen = append(seen, p.Name+" "+k.From+" "+k.Kind)
			t.Logf("%s from %s, %s: %d requests, %d failed, %d retried, %d skipped, %d unjudged, p99 %.0f ms, max %.0f ms, sent at most %.0f ms late", p.Name, k.From, k.Kind, k.Requests, k.Failures, k.Retries, k.Skipped, k.Unjudged, k.P99Ms, k.MaxMs, k.MaxLateMs)
			s.judge(t, k.Failures, k.Requests, k.Reasons, p.Name+" from "+k.From+", "+k.Kind, k.Failed...)
			if blind := k.Skipped + k.Unjudged; 100*blind > blindShare*(k.Requests+blind) {
				t.Errorf("%s from %s, %s: of %d requests %d were not sent or not judged: too few were to say anything", p.Name, k.From, k.Kind, k.Requests+blind, blind)
			}
			// Each place and kind has been asked for the whole time: the run
			// takes more than a minute and a half.
			if least := int(r.Seconds) * s.rate / 2; k.Requests < least && p.Name != "load-balancer" {
				t.Errorf("%s from %s, %s: %d requests in %.0f s are less than %d", p.Name, k.From, k.Kind, k.Requests, r.Seconds, least)
			}
			if k.Kind == "watch" && k.MissedEvents == nil {
				t.Errorf("%s from %s: nothing is said of missed events", p.Name, k.From)
			}
		}
	}
	for _, place := range []string{"old-address operator", "load-balancer " + s.asksEndpoint(), "service cp1", "service w1"} {
		for _, kind := range []string{"new connection read", "kept read", "kept write", "watch"} {
			if !slices.Contains(seen, place+" "+kind) {
				t.Errorf("nothing is said of %s, %s; there is %q", place, kind, seen)
			}
		}
	}
	t.Logf("%d requests and events", all)
}

// asksEndpoint is where the endpoint is asked from: a name that this machine
// does not know is asked for on a worker.
func (s *scenario) asksEndpoint() string {
	host, _, err := net.SplitHostPort(s.pg.endpoint())
	if err == nil && net.ParseIP(host) == nil {
		return "w1 (host network)"
	}
	return "operator"
}
