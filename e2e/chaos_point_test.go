package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// point is an instant of a leg at which something is done to it: so long after
// the program has told of an event of a step on a target.
type point struct {
	leg    legID
	step   string
	target string
	event  string
	after  time.Duration
}

// legID is one phase in one direction.
type legID struct {
	phase int
	back  bool
}

func (l legID) String() string {
	if l.back {
		return fmt.Sprintf("%d<", l.phase)
	}
	return fmt.Sprintf("%d>", l.phase)
}

// String is what CHAOS_POINTS takes.
func (p point) String() string {
	return fmt.Sprintf("%s %s@%s %s+%dms", p.leg, p.step, p.target, p.event, p.after.Milliseconds())
}

var pointText = regexp.MustCompile(`^([1-3])([<>]) (\S+)@(\S+) (step-[a-z]+)\+(\d+)ms$`)

// parsePoint reads what String wrote.
func parsePoint(text string) (point, error) {
	m := pointText.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return point{}, fmt.Errorf("%q is no point: write it as in the table, for example: 2> etcd/promote@e2 step-started+240ms", text)
	}
	ms, err := strconv.Atoi(m[6])
	if err != nil {
		return point{}, fmt.Errorf("point %q: %w", text, err)
	}
	return point{
		leg: legID{phase: int(m[1][0] - '0'), back: m[2] == "<"}, step: m[3], target: m[4],
		event: m[5], after: time.Duration(ms) * time.Millisecond,
	}, nil
}

// visited is a step on a target, in the order in which a leg comes to them.
type visited struct{ step, target string }

// choose picks n instants of a leg at which it is killed. They lie in n equal
// shares of the leg's steps, so that no part of it is left out; within the
// share, chance decides. Most are within a step's work, as most of the time
// is; short delays are as likely as long ones.
func choose(r *rand.Rand, leg legID, steps []visited, n int) []point {
	n = min(n, len(steps))
	var out []point
	for i := range n {
		first, last := i*len(steps)/n, (i+1)*len(steps)/n
		at := steps[first+r.IntN(last-first)]
		p := point{leg: leg, step: at.step, target: at.target}
		longest := 2500.0
		switch kind := r.IntN(6); {
		case leg.back && kind == 0:
			p.event, longest = "step-undone", 200
		case leg.back:
			p.event = "step-undoing"
		case kind == 0:
			p.event, longest = "step-checking", 400
		case kind == 1:
			p.event, longest = "step-done", 200
		default:
			p.event = "step-started"
		}
		p.after = time.Duration(math.Exp(r.Float64()*math.Log(longest))) * time.Millisecond
		out = append(out, p)
	}
	return out
}

// stepsOf asks the program which steps a leg has still to do, in order.
func (s *scenario) stepsOf(t *testing.T, leg legID) []visited {
	t.Helper()
	var out []visited
	phase := []string{"--phase", strconv.Itoa(leg.phase), "-o", "json"}
	if leg.back {
		for _, e := range s.planBack(t, leg.phase) {
			if e.Stays == "" {
				out = append(out, visited{e.Step, e.Target})
			}
		}
		return out
	}
	r := s.bin.must(t, 0, planLimit, s.migrate("plan", phase...)...)
	var phases []struct {
		Steps []planned `json:"steps"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &phases); err != nil || len(phases) != 1 {
		t.Fatalf("reading plan -o json: %v\n%s", err, tail(r.stdout, 5))
	}
	for _, e := range phases[0].Steps {
		if e.Finding.Verdict != "satisfied" {
			out = append(out, visited{e.Step, e.Target})
		}
	}
	return out
}

// plannedBack is one step of a way back, as `plan --rollback -o json` writes
// it.
type plannedBack struct {
	Step    string `json:"step"`
	Target  string `json:"target"`
	Stays   string `json:"stays"`
	Blocked string `json:"blocked"`
}

// planBack asks for the way back of a phase.
func (s *scenario) planBack(t *testing.T, phase int) []plannedBack {
	t.Helper()
	r := s.bin.must(t, 0, planLimit, s.migrate("plan", "--rollback", "--phase", strconv.Itoa(phase), "-o", "json")...)
	var list []plannedBack
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		t.Fatalf("reading plan --rollback -o json: %v\n%s", err, tail(r.stdout, 5))
	}
	return list
}

// shot is something that is done to the program, or to what it works on, at a
// point.
type shot struct {
	point
	fault fault
}

// inOrder sorts shots by where a leg comes to them.
func inOrder(shots []shot, steps []visited) {
	slices.SortStableFunc(shots, func(a, b shot) int {
		return cmp.Or(
			cmp.Compare(slices.Index(steps, visited{a.step, a.target}), slices.Index(steps, visited{b.step, b.target})),
			cmp.Compare(momentOf(a.event), momentOf(b.event)),
		)
	})
}

// momentOf orders the events of one step.
func momentOf(event string) int {
	return slices.Index([]string{"step-checking", "step-started", "step-undoing", "step-waiting", "step-done", "step-undone"}, event)
}

func TestPointsAreWrittenAndRead(t *testing.T) {
	steps := []visited{{"etcd/user", "e1"}, {"etcd/user", "e2"}, {"etcd/promote", "e1"}, {"etcd/kubeadm-config", "cluster"}}
	for _, leg := range []legID{{2, false}, {2, true}} {
		first := choose(rand.New(rand.NewPCG(7, 1)), leg, steps, 3)
		if len(first) != 3 {
			t.Fatalf("of 3 points %d were chosen", len(first))
		}
		for i, again := range choose(rand.New(rand.NewPCG(7, 1)), leg, steps, 3) {
			read, err := parsePoint(again.String())
			if err != nil || read != first[i] {
				t.Errorf("%s was read as %s (%v), and chosen before as %s", again, read, err, first[i])
			}
		}
	}
	if _, err := parsePoint("4> etcd/promote@e2 step-started+1ms"); err == nil {
		t.Error("phase 4 was taken")
	}
}
