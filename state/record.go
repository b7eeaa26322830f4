package state

import (
	"maps"
	"slices"
	"time"
)

// Key names one step on one target.
type Key struct {
	Phase  int    `json:"phase"`
	Step   string `json:"step"`
	Target string `json:"target"`
}

// Record is what the journal knows of one step on one target. Times are UTC;
// a zero time means that it has not come to that.
type Record struct {
	Key
	Status   Status `json:"status"`
	FailedIn Status `json:"failedIn,omitempty"` // with Failed: the status it failed in
	Error    string `json:"error,omitempty"`    // with Failed: the error's text
	// Before is the pre-image of the first start. It outlives retries and
	// drift: it is what an undo brings back. It holds no secret.
	Before map[string]string `json:"before,omitempty"`
	// Edits are the texts that the first start was to change, for the diffs of
	// the way back and of the report. They hold no secret either.
	Edits []Edit `json:"edits,omitempty"`
	// Unknown says, of a step that was adopted, why what was there before is
	// not known: it can't be undone.
	Unknown string `json:"unknown,omitempty"`
	// Order grows with each step begun. It is for people: a rollback goes
	// through the phase backward, and not through this.
	Order        uint64    `json:"order"`
	Attempts     int       `json:"attempts"` // how often Start happened
	FirstStarted time.Time `json:"firstStarted,omitzero"`
	Started      time.Time `json:"started,omitzero"` // the latest Start
	Applied      time.Time `json:"applied,omitzero"`
	Ended        time.Time `json:"ended,omitzero"` // satisfied, verified, undone or failed
}

// Edit is one file or object with its text before a step and after it.
type Edit struct {
	Object string `json:"object"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// Change is an event with what belongs to it.
type Change struct {
	Event  Event
	Before map[string]string // with Start and Adopt: the pre-image; kept only by a first start
	Edits  []Edit            // with Start: what it is to change; kept like Before
	Error  string            // with Fail: the error's text, without secrets
	Note   string            // one clause for the log
	// Unknown, with Adopt, is why there is no pre-image.
	Unknown string
}

// advance is the record after c at the given time; seq is the number of the
// log entry that is written with it. It changes neither r nor c.
func (r Record) advance(c Change, at time.Time, seq uint64) (Record, error) {
	to, err := Next(r.Status, c.Event)
	if err != nil {
		return Record{}, err
	}
	n := r
	n.Status, n.FailedIn, n.Error = to, "", ""
	switch c.Event {
	case Found:
		n = Record{Key: r.Key, Status: to, Order: seq, Ended: at}
	case Start:
		if !r.Status.Touched() {
			n = Record{Key: r.Key, Status: to, Order: seq, FirstStarted: at, Before: maps.Clone(c.Before), Edits: slices.Clone(c.Edits)}
		}
		n.Attempts++
		n.Started, n.Applied, n.Ended = at, time.Time{}, time.Time{}
	case Adopt:
		n = Record{Key: r.Key, Status: to, Order: seq, Ended: at, Before: maps.Clone(c.Before), Edits: slices.Clone(c.Edits), Unknown: c.Unknown}
	case ApplyDone:
		n.Applied = at
	case UndoStart:
		n.Ended = time.Time{}
	case VerifyDone, UndoDone:
		n.Ended = at
	case Fail:
		n.FailedIn, n.Error, n.Ended = r.Status, c.Error, at
		if r.Status == Failed {
			n.FailedIn = r.FailedIn
		}
	}
	return n, nil
}

// LogEntry is one line of the append-only history.
type LogEntry struct {
	Seq uint64    `json:"seq"`
	At  time.Time `json:"at"`
	Key
	From Status `json:"from"`
	To   Status `json:"to"`
	Note string `json:"note,omitempty"`
}

// Phase is what the journal knows of a phase as a whole.
type Phase struct {
	Spec        string `json:"spec"`        // fingerprint of the spec it was begun with
	Declaration string `json:"declaration"` // fingerprint of the step list it was begun with
	// Choice are the answers, by facet, on which it depended which steps it has:
	// the strategy. Programs before this field wrote none.
	Choice    map[string]string `json:"choice,omitempty"`
	Tool      string            `json:"tool"` // version of this program that began it
	Begun     time.Time         `json:"begun,omitzero"`
	Completed time.Time         `json:"completed,omitzero"` // zero while steps are left
}

// Run is one run of a phase by one operator. End is zero for a run that is
// under way or was killed.
type Run struct {
	ID     uint64    `json:"id"`
	Phase  int       `json:"phase"`
	Who    string    `json:"who"` // user@host
	Tool   string    `json:"tool"`
	Start  time.Time `json:"start"`
	End    time.Time `json:"end,omitzero"`
	Result string    `json:"result,omitempty"` // "done", or why not
}
