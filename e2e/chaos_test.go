package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// defaultLegs is one round: each phase there, back, and there again, killed on
// the way and struck by everything else; then all the way back.
const defaultLegs = "1>k4 1<k4 1>f 2>k8 2<k8 2>f 3>k4 3<k4 3>f 3<f 2<k2f 1<k1"

// chaos is a test of many legs on one playground.
type chaos struct {
	*scenario
	prober *prober
	was    string // the API server's arguments, before
	rows   []*row
	begun  time.Time
}

// leg is one phase in one direction, with what happens to it.
type leg struct {
	legID
	kills  int
	faults bool
	alone  bool // the node's own timer has to help
}

var legText = regexp.MustCompile(`^([1-3])([<>])(?:k(\d+))?(f?)(w?)$`)

func parseLegs(text string) ([]leg, error) {
	var out []leg
	for word := range strings.FieldsSeq(text) {
		m := legText.FindStringSubmatch(word)
		if m == nil {
			return nil, fmt.Errorf("CHAOS_LEGS: %q is no leg: write the phase, > or <, and k with a number of kills, f for the other faults or w for the timer on the node, like 2>k8", word)
		}
		l := leg{legID: legID{phase: int(m[1][0] - '0'), back: m[2] == "<"}, faults: m[4] == "f", alone: m[5] == "w"}
		if m[3] != "" {
			n, err := strconv.Atoi(m[3])
			if err != nil {
				return nil, fmt.Errorf("CHAOS_LEGS: %q: %w", word, err)
			}
			l.kills = n
		}
		out = append(out, l)
	}
	return out, nil
}

// plannedChaos is what the environment asks for.
type plannedChaos struct {
	seed   uint64
	legs   []leg
	points []point // in place of chosen ones
}

func planChaos(t *testing.T) plannedChaos {
	t.Helper()
	c := plannedChaos{seed: seedOf(t)}
	rounds, err := strconv.Atoi(orDefault(os.Getenv("ROUNDS"), "1"))
	if err != nil || rounds < 1 {
		t.Fatalf("ROUNDS=%s is no number of rounds", os.Getenv("ROUNDS"))
	}
	text := strings.Repeat(orDefault(os.Getenv("CHAOS_LEGS"), defaultLegs)+" ", rounds)
	if c.legs, err = parseLegs(text); err != nil {
		t.Fatal(err)
	}
	if text := os.Getenv("CHAOS_POINTS"); text != "" {
		for one := range strings.SplitSeq(text, ";") {
			p, err := parsePoint(one)
			if err != nil {
				t.Fatalf("CHAOS_POINTS: %v", err)
			}
			c.points = append(c.points, p)
		}
	}
	return c
}

// seedOf is what the points are chosen with.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed, err := strconv.ParseUint(orDefault(os.Getenv("SEED"), "1"), 10, 64)
	if err != nil {
		t.Fatalf("SEED: %v", err)
	}
	return seed
}

// shots are what happens to leg number n.
func (c plannedChaos) shots(n int, steps []visited) []shot {
	l := c.legs[n]
	var out []shot
	if l.faults {
		out = faults(l.legID)
	}
	points := choose(rand.New(rand.NewPCG(c.seed, uint64(n))), l.legID, steps, l.kills)
	if c.points != nil {
		points = slices.DeleteFunc(slices.Clone(c.points), func(p point) bool { return p.leg != l.legID })
		if len(points) > 0 {
			out = nil
		}
	}
	if l.alone {
		out = append(out, watchdogShot(l.legID))
	}
	for _, p := range points {
		out = append(out, shot{p, killed})
	}
	return out
}

// TestChaos is what `make chaos` runs; see the package comment.
func TestChaos(t *testing.T) {
	if os.Getenv("CHAOS") != "1" {
		t.Skip("an hour of kills and faults: make chaos")
	}
	plan := planChaos(t)
	c := setUpChaos(t)
	for n, l := range plan.legs {
		name := fmt.Sprintf("leg %d: %s", n+1, l.legID)
		arrived := false
		t.Run(name, func(t *testing.T) { arrived = c.travel(t, plan, n) })
		t.Logf("%6.0f s: %s", time.Since(c.begun).Seconds(), name)
		if !arrived {
			t.Fatalf("the legs after %s build on it", name)
		}
	}
}

// setUpChaos makes a playground, with the journal and the backups beside it on
// a small disk of their own.
func setUpChaos(t *testing.T) *chaos {
	t.Helper()
	cfg := configure(t)
	cfg.name = orDefault(os.Getenv("E2E_NAME"), "chaos")
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=512m", "chaos", dir).CombinedOutput(); err != nil {
		t.Fatalf("making a small disk for the journal: %v: %s", err, out)
	}
	s := &scenario{config: cfg, top: t, powerCuts: true, bin: &binary{path: cfg.binary, out: cfg.out}, journal: filepath.Join(dir, "chaos.journal")}
	c := &chaos{scenario: s, prober: newProber(), begun: time.Now()}
	t.Cleanup(func() {
		c.prober.endAll()
		c.print(t)
		s.end(t)
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("removing the journal's small disk: %v: %s", err, out)
		}
	})
	makePlayground(t, s)
	fill(t, s)
	c.was = c.apiServerCommand(t)
	c.prober.begin(t, s.pg, oldAddress, s.pg.api("cp1"))
	return c
}

// The paths to the API.
const (
	oldAddress   = "old-address"
	throughLB    = "endpoint"
	firstServing = "loadbalancer/nginx-stream"
)

// travel does one leg and looks at what came of it. True: the leg ended in the
// state that the next one begins with, whatever clients saw meanwhile.
func (c *chaos) travel(t *testing.T, plan plannedChaos, n int) (arrived bool) {
	l := plan.legs[n]
	if l.back {
		c.mayGoBack(t, l.legID)
	}
	steps := c.stepsOf(t, l.legID)
	if len(steps) == 0 {
		t.Fatalf("leg %s has nothing to do", l.legID)
	}
	if l.legID == (legID{1, true}) {
		// Nobody is to follow the endpoint when the load balancer goes.
		c.writersDone(c.prober.end(t, throughLB))
	}
	d := newDrive(c.scenario, l.legID, steps, plan.shots(n, steps), func(s string) { t.Log(time.Now().Format("15:04:05 ") + s) })
	if l.legID == (legID{1, false}) {
		d.heard = func(e event) {
			if e.Step == firstServing && (e.Kind == "step-done" || e.Kind == "step-satisfied") {
				c.prober.begin(t, c.pg, throughLB, c.pg.endpoint())
			}
		}
	}
	c.rows = append(c.rows, &row{shot: shot{point: point{leg: l.legID}}})
	place := len(c.rows) - 1
	defer func() {
		c.rows = append(c.rows[:place], d.rows...)
		for _, r := range d.rows {
			if r.end = "as it must be"; !arrived {
				r.end = "NOT as it must be"
			}
		}
	}()
	d.toEnd(t)
	d.judge(c.prober, time.Now())
	for _, r := range d.rows {
		for _, w := range r.wrong {
			t.Errorf("%s: %s", r.what(), w)
		}
	}
	return c.endState(t, l.legID)
}

// mayGoBack leaves out what has no way back yet.
func (c *chaos) mayGoBack(t *testing.T, leg legID) {
	t.Helper()
	for _, e := range c.planBack(t, leg.phase) {
		if e.Blocked != "" {
			t.Fatalf("phase %d can't be undone: %s on %s: %s", leg.phase, e.Step, e.Target, e.Blocked)
		}
	}
}

func (c *chaos) writersDone(w *writer) {
	if w != nil {
		c.writers = append(c.writers, w)
	}
}
