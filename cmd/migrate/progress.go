package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/show"
)

// progress tells a person what a run does: on a terminal one line that moves
// for the step at hand, elsewhere one plain line an event.
type progress struct {
	w      io.Writer
	moving bool
	colour bool

	rehearsed *rehearsal // tells how long a step takes; may be nil

	mu   sync.Mutex
	live func() string // a short live figure for the moving line; may be nil
	open bool          // the moving line is on the screen
	now  migrate.Event
}

func newProgress(w io.Writer) *progress {
	return &progress{w: w, moving: show.IsTerminal(w), colour: show.WantColour(w)}
}

// setLive adds a live figure to the moving line.
func (p *progress) setLive(f func() string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live = f
}

// say prints a line that is no event.
func (p *progress) say(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(show.Foreign(message))
}

// Event prints one event.
func (p *progress) Event(e migrate.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = e
	switch e.Kind {
	case migrate.EventBackupStarted:
		p.step(show.Sprintf("~ before phase %d: %s", e.Phase, e.Message))
	case migrate.EventBackupDone:
		p.line(show.Sprintf("%s before phase %d: %s (%s)", p.mark(show.Green, "✓"), e.Phase, e.Message, show.Seconds(e.Elapsed)))
	case migrate.EventPhaseStarted:
		p.line(show.Paint(p.colour, show.Bold, fmt.Sprintf("Phase %d: %s", e.Phase, e.Title)))
	case migrate.EventPhaseDone:
		p.line(show.Paint(p.colour, show.Green, fmt.Sprintf("Phase %d done in %s", e.Phase, show.Seconds(e.Elapsed))))
	default:
		p.stepEvent(e)
	}
}

// stepEvent prints what is about one step.
func (p *progress) stepEvent(e migrate.Event) {
	name := fmt.Sprintf("[%d/%d] %s · %s", e.Index, e.Total, e.Target, e.Title)
	if e.Step == "" {
		name = "the cluster's health"
	}
	switch e.Kind {
	case migrate.EventStepStarted:
		away := ""
		if e.Outage > 0 {
			away = fmt.Sprintf(" (the API will be away for up to %.0f s)", e.Outage.Seconds())
		}
		if took := p.rehearsed.expected(e.Step); took > 0 {
			away += ", about " + show.Seconds(took)
		}
		p.step(show.Sprintf("~ %s: %s%s", name, e.Message, away))
	case migrate.EventStepWaiting:
		whom := ""
		if e.WaitsFor != "" {
			whom = " for " + e.WaitsFor
		}
		p.step(show.Sprintf("… %s: waiting%s, %s so far: %s", name, whom, show.Seconds(e.Elapsed), e.Message))
	case migrate.EventStepDone:
		p.line(show.Sprintf("%s %s (%s)", p.mark(show.Green, "✓"), name, show.Seconds(e.Elapsed)))
	case migrate.EventStepSatisfied:
		p.line(show.Sprintf("%s %s: %s", p.mark(show.Green, "="), name, e.Message))
	case migrate.EventStepFailed:
		p.line(show.Sprintf("%s %s: %s", p.mark(show.Red, "✗"), name, e.Message))
	case migrate.EventStepUndoing:
		p.step(show.Sprintf("< %s: taking it back, since %s", name, e.Message))
	case migrate.EventStepUndone:
		p.line(show.Sprintf("%s %s: taken back (%s)", p.mark(show.Green, "<"), name, show.Seconds(e.Elapsed)))
	}
}

// mark is the sign at the beginning of a line.
func (p *progress) mark(colour show.Own, sign string) show.Own {
	return show.Paint(p.colour, colour, sign)
}

// line prints a line that stays.
func (p *progress) line(s show.Own) {
	begin := show.Own("")
	if p.open {
		begin = show.Rewrite
		p.open = false
	}
	if !p.moving {
		begin = show.Sprintf("%s ", time.Now().UTC().Format("15:04:05Z"))
	}
	show.Fprintln(p.w, begin+s)
}

// step prints what the next line will overwrite, on a terminal.
func (p *progress) step(s show.Own) {
	if !p.moving {
		p.line(s)
		return
	}
	text := strings.ReplaceAll(string(s), "\n"+show.Continued, " | ")
	if p.live != nil {
		text += " · " + p.live()
	}
	if r := []rune(text); len(r) > 150 {
		text = string(r[:149]) + "…"
	}
	show.Fprintf(p.w, "%s%s", show.Rewrite, text)
	p.open = true
}

// jsonEvents writes one JSON object a line.
type jsonEvents struct{ e *json.Encoder }

func (j jsonEvents) Event(e migrate.Event) {
	// A reader that went away is found out by the next write of data.
	_ = j.e.Encode(e)
}

// both tells two listeners.
type both []migrate.Events

func (b both) Event(e migrate.Event) {
	for _, l := range b {
		l.Event(e)
	}
}

// onEvent is a listener that is a function.
type onEvent func(migrate.Event)

func (f onEvent) Event(e migrate.Event) { f(e) }
