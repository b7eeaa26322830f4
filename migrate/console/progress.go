package console

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

// Progress tells a person what a run does: on a terminal one line that moves
// for the step at hand, elsewhere one plain line an event.
type Progress struct {
	w      io.Writer
	Moving bool
	colour bool

	Expected func(migrate.StepID) time.Duration // how long a step took in a rehearsal, 0 where that is not known; may be nil

	mu   sync.Mutex
	live func() string // a short live figure for the moving line; may be nil
	open bool          // the moving line is on the screen
	now  migrate.Event
}

// NewProgress is the progress on w: lines that move where that is a terminal.
func NewProgress(w io.Writer) *Progress {
	return &Progress{w: w, Moving: show.IsTerminal(w), colour: show.WantColour(w)}
}

// SetLive adds a live figure to the moving line.
func (p *Progress) SetLive(f func() string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live = f
}

// Say prints a line that is no event.
func (p *Progress) Say(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(show.Foreign(message))
}

// Event prints one event.
func (p *Progress) Event(e migrate.Event) {
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
func (p *Progress) stepEvent(e migrate.Event) {
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
		if p.Expected != nil && p.Expected(e.Step) > 0 {
			away += ", about " + show.Seconds(p.Expected(e.Step))
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
		p.step(show.Sprintf("< %s: undoing it, because %s", name, e.Message))
	case migrate.EventStepUndone:
		p.line(show.Sprintf("%s %s: undone (%s)", p.mark(show.Green, "<"), name, show.Seconds(e.Elapsed)))
	}
}

// mark is the sign at the beginning of a line.
func (p *Progress) mark(colour show.Own, sign string) show.Own {
	return show.Paint(p.colour, colour, sign)
}

// line prints a line that stays.
func (p *Progress) line(s show.Own) {
	begin := show.Own("")
	if p.open {
		begin = show.Rewrite
		p.open = false
	}
	if !p.Moving {
		begin = show.Sprintf("%s ", time.Now().UTC().Format("15:04:05Z"))
	}
	show.Fprintln(p.w, begin+s)
}

// step prints what the next line will overwrite, on a terminal.
func (p *Progress) step(s show.Own) {
	if !p.Moving {
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

// JSONEvents writes one JSON object a line.
type JSONEvents struct{ e *json.Encoder }

// NewJSONEvents are written to w.
func NewJSONEvents(w io.Writer) JSONEvents { return JSONEvents{json.NewEncoder(w)} }

// Event writes one event.
func (j JSONEvents) Event(e migrate.Event) {
	// A reader that went away is found out by the next write of data.
	_ = j.e.Encode(e)
}
