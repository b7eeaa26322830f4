package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// driveLimit bounds one leg with everything that happens to it.
	driveLimit = 25 * time.Minute
	// strikeLimit bounds a fault with its end.
	strikeLimit = 5 * time.Minute
	// attempts is how often a run that ended with an error is started again
	// before it counts as one that does not carry on, and patience for how long
	// at least: a node whose power was cut has an API server again after a while.
	attempts = 5
	patience = 2 * time.Minute
)

// row is what came of one shot.
type row struct {
	shot
	at     time.Time     // of the shot; of the leg's begin where there is none
	landed string        // what the program had told last
	length time.Duration // of the fault
	// resumed is the time from the shot, or from a fault's begin, until the
	// step it hit was done; 0 where the next shot came before that.
	resumed time.Duration
	codes   []int // of runs that ended with an error until then
	said    string
	seen    seen
	wrong   []string
	end     string // the state that the leg ended in
}

// drive carries a leg to its end, whatever happens to it on the way, and says
// what that was.
type drive struct {
	s     *scenario
	leg   legID
	args  []string
	steps []visited
	shots []shot // still to come
	rows  []*row

	last    event     // of the run under way
	hit     int       // the place of the step that the last shot hit
	between bool      // it hit between that step and the next
	failing int       // runs in a row that ended with an error
	since   time.Time // the first of them ended
	healed  chan error
	tell    func(string)
	heard   func(event) // may be nil
}

// newDrive prepares a leg. The program probes as it always does, but does not
// stop for what its probe sees: that is another test's, and here it is judged
// by the prober of this package.
func newDrive(s *scenario, leg legID, steps []visited, shots []shot, tell func(string)) *drive {
	command := []string{"run", "--quiet", "2s"}
	if leg.back {
		command = []string{"rollback"}
	}
	args := s.migrate(command[0], append(command[1:], "--yes", "-o", "json", "--max-unavailable", "1h", "--phase", strconv.Itoa(leg.phase))...)
	inOrder(shots, steps)
	return &drive{s: s, leg: leg, args: args, steps: steps, shots: shots, hit: -1, tell: tell}
}

// toEnd runs the command again and again until it ends with exit code 0.
func (d *drive) toEnd(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), driveLimit)
	defer cancel()
	d.rows = append(d.rows, &row{at: time.Now(), shot: shot{point: point{leg: d.leg}}})
	for {
		r, killed := d.once(ctx, t)
		switch {
		case ctx.Err() != nil:
			t.Fatalf("leg %s did not end within %s", d.leg, driveLimit)
		case killed:
			continue
		case r.code == 0:
			d.ended(t)
			return
		}
		now := d.rows[len(d.rows)-1]
		now.codes = append(now.codes, r.code)
		now.said = lastWords(r.stderr)
		d.tell(fmt.Sprintf("%s: exit code %d: %s", d.leg, r.code, now.said))
		if d.failing++; d.failing == 1 {
			d.since = time.Now()
		}
		if d.failing > attempts && time.Since(d.since) > patience {
			t.Fatalf("leg %s does not carry on after %s: %d runs ended with an error, the last with exit code %d:\n%s", d.leg, now.what(), d.failing, r.code, tail(r.stderr, 10))
		}
		pause(ctx, 2*time.Second) // a person needs longer
	}
}

// lastWords is the error that a run ended with, on one line.
func lastWords(stderr string) string {
	if at := strings.LastIndex(stderr, "\nmigrate: "); at >= 0 {
		stderr = stderr[at+1:]
	}
	return strings.Join(strings.Fields(stderr), " ")
}

// ended looks whether everything was done that was to be.
func (d *drive) ended(t *testing.T) {
	t.Helper()
	for _, r := range d.rows {
		if r.fault.stops && len(r.codes) == 0 {
			r.wrong = append(r.wrong, "the run went on as if nothing had happened")
		}
	}
	for _, s := range d.shots {
		t.Errorf("leg %s never came to %s for %s", d.leg, s.point, s.fault.name)
	}
}

// once is one run of the command, up to its end or its kill.
func (d *drive) once(ctx context.Context, t *testing.T) (result, bool) {
	t.Helper()
	lines := make(chan event, 10000) // more than a run has
	p, err := d.s.bin.start(ctx, func(line string) {
		var e event
		if json.Unmarshal([]byte(line), &e) == nil {
			lines <- e
		}
	}, d.args...)
	if err != nil {
		t.Fatal(err)
	}
	go p.finish()
	d.last = event{}
	var fire <-chan time.Time
	waits := false // the next shot is due, and the last fault is not over
	for {
		select {
		case e := <-lines:
			switch after, armed := d.take(e); {
			case armed && d.healed != nil:
				waits = true
			case armed && fire == nil:
				fire = time.After(after)
			}
		case <-fire:
			fire = nil
			if d.fire(ctx, p) {
				if r := p.finish(); r.code == -1 {
					if d.healed == nil {
						d.mark("")
					} else {
						d.heal(t, <-d.healed)
					}
					return r, true
				} // it had ended by itself
			}
		case err := <-d.healed:
			d.heal(t, err)
			if waits && fire == nil {
				waits, fire = false, time.After(0)
			}
		case <-p.ended:
			for len(lines) > 0 {
				d.take(<-lines)
			}
			if d.healed != nil {
				d.heal(t, <-d.healed)
			}
			return p.finish(), false
		}
	}
}

// take hears an event, and says whether the next shot is due and in how long.
func (d *drive) take(e event) (time.Duration, bool) {
	d.last = e
	if d.heard != nil {
		d.heard(e)
	}
	at := slices.Index(d.steps, visited{e.Step, e.Target})
	carriedOn := isOver(e) && at >= d.hit || d.between && at > d.hit || e.Kind == "phase-done"
	if now := d.rows[len(d.rows)-1]; now.resumed == 0 && now.step != "" && d.healed == nil && carriedOn {
		now.resumed = time.Since(now.at)
		d.failing = 0
	}
	if len(d.shots) == 0 {
		return 0, false
	}
	next := d.shots[0]
	if e.Step == next.step && e.Target == next.target && e.Kind == next.event {
		return next.after, true
	}
	// Past it already: an earlier shot came late.
	begins := e.Kind == "step-started" || e.Kind == "step-undoing"
	return 0, begins && at > slices.Index(d.steps, visited{next.step, next.target})
}

// isOver says whether an event ends a step.
func isOver(e event) bool {
	return e.Kind == "step-done" || e.Kind == "step-satisfied" || e.Kind == "step-undone"
}

// fire does what the next shot says. True: the program was killed.
func (d *drive) fire(ctx context.Context, p *process) bool {
	s := d.shots[0]
	if s.fault.strike == nil || s.fault.kills {
		if err := p.cmd.Process.Kill(); errors.Is(err, os.ErrProcessDone) {
			return false // the shot is still to come
		}
	}
	if s.fault.strike == nil {
		return true
	}
	d.mark("")
	d.healed = make(chan error, 1)
	healed, began := d.healed, time.Now()
	now := d.rows[len(d.rows)-1]
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(s.fault.limit, strikeLimit))
		defer cancel()
		err := s.fault.strike(ctx, struck{d.s, p.ended})
		now.length = time.Since(began)
		healed <- err
	}()
	return s.fault.kills
}

// mark begins the row of the shot that was done.
func (d *drive) mark(note string) {
	s := d.shots[0]
	d.shots = d.shots[1:]
	landed := d.last.Kind
	if d.last.Step != "" {
		landed += " of " + d.last.Step + " on " + d.last.Target
	}
	if landed == "" {
		landed = "at its start"
	}
	d.hit, d.between = slices.Index(d.steps, visited{d.last.Step, d.last.Target}), isOver(d.last)
	d.rows = append(d.rows, &row{shot: s, at: time.Now(), landed: landed + note})
	d.failing = 0
	d.tell(fmt.Sprintf("%s at %s (after %s)", s.fault.name, s.point, landed))
}

// heal hears that a fault is over.
func (d *drive) heal(t *testing.T, err error) {
	t.Helper()
	d.healed = nil
	now := d.rows[len(d.rows)-1]
	if err != nil {
		t.Errorf("%s at %s could not be done: %v", now.fault.name, now.point, err)
		now.wrong = append(now.wrong, "could not be done")
	}
	d.tell(fmt.Sprintf("%s is over after %.1f s", now.fault.name, now.length.Seconds()))
}

// what names a row for a person.
func (r *row) what() string {
	if r.step == "" {
		return "nothing"
	}
	return r.fault.name + " at " + r.point.String()
}

// judge looks at what clients saw in each row's time.
func (d *drive) judge(p *prober, end time.Time) {
	for i, r := range d.rows {
		until := end
		if i+1 < len(d.rows) {
			until = d.rows[i+1].at
		}
		r.seen = p.seen(r.at, until)
		switch allowed := r.length + grace; {
		case len(r.seen.failures) == 0:
		case !r.fault.serves:
			r.wrong = append(r.wrong, fmt.Sprintf("%d requests failed", len(r.seen.failures)))
		case r.seen.outage > allowed:
			r.wrong = append(r.wrong, fmt.Sprintf("the API was away for %.1f s, %.1f s are allowed", r.seen.outage.Seconds(), allowed.Seconds()))
		}
	}
}

// codesText is how runs ended until one carried on.
func (r *row) codesText() string {
	var out []string
	for _, c := range r.codes {
		out = append(out, strconv.Itoa(c))
	}
	return strings.Join(out, ", ")
}
