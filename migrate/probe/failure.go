package probe

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// maxFailures bounds how many failures of a series are kept one by one: the
// first ones tell what happened, the reasons count them all.
const maxFailures = 20

// Failure is one request that failed, or one event that never arrived.
type Failure struct {
	At     time.Time `json:"at"` // when it was sent, by the clock of where it was sent from
	Reason string    `json:"reason"`
	// Seconds is how long after that it was known to have failed.
	Seconds float64 `json:"seconds"`
	// Connection is the one that the request was sent on, with its age then;
	// empty where it got none, and for an event.
	Connection string `json:"connection,omitempty"`
	// During names what the migration was doing then. The probe does not know
	// that; whoever has the journal adds it.
	During string `json:"during,omitempty"`
}

// Explain adds to each failure what the migration was doing when its request
// was sent, by during.
func (r *Result) Explain(during func(time.Time) string) {
	for _, p := range r.Paths {
		for _, k := range p.Kinds {
			for i := range k.Failed {
				k.Failed[i].During = during(k.Failed[i].At)
			}
		}
	}
}

// Failed are sentences, one for each failure that is known by itself, in the
// order of time: the first maxFailures, and how many more there were.
func (r Result) Failed() []string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	for _, p := range r.Paths {
		for _, k := range p.Kinds {
			for _, f := range k.Failed {
				lines = append(lines, line{f.At, fmt.Sprintf("Failed: %s from %s, %s, sent at %s", p.Name, k.From, k.Kind, f)})
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var texts []string
	for _, l := range lines[:min(len(lines), maxFailures)] {
		texts = append(texts, l.text)
	}
	if more := r.Failures() - len(texts); more > 0 && len(texts) > 0 {
		texts = append(texts, fmt.Sprintf("Failed: %d more; `migrate report --json` tells the first %d of each path and kind.", more, maxFailures))
	}
	return texts
}

// String says when, why, for how long, on which connection and beside what.
func (f Failure) String() string {
	said := fmt.Sprintf("%s: %s, known after %.1f s", f.At.UTC().Format("2006-01-02 15:04:05.000 UTC"), f.Reason, f.Seconds)
	if f.Connection != "" {
		said += ", on " + f.Connection
	}
	if f.During != "" {
		said += " (" + f.During + ")"
	}
	return said
}

// failure is the account of a request that was sent then and has just failed.
func failure(at time.Time, err error) Failure {
	f := Failure{At: at.UTC().Round(0), Reason: reason(err), Seconds: roundedSeconds(time.Since(at))}
	var sent *sentError
	if errors.As(err, &sent) {
		f.Connection = sent.connection
	}
	return f
}

// dialled is a connection that knows when it was made.
type dialled struct {
	net.Conn
	at time.Time
}

// describe names a connection by its ends, and tells how old it is.
func describe(conn net.Conn) string {
	said := fmt.Sprintf("%s to %s", conn.LocalAddr(), conn.RemoteAddr())
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if made, ok := conn.(dialled); ok {
		said += fmt.Sprintf(", %.1f s old", time.Since(made.at).Seconds())
	}
	return said
}
