package commandlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/runlog"
	"hamigrate/migrate/show"
)

// View is what of the log is shown.
type View struct {
	All      bool
	Since    time.Time // zero: from the beginning
	Commands bool
	Hosts    []string
	Failed   bool
	JSON     bool
	W        io.Writer
	Colour   bool
}

// Print prints what is asked for as it is read, and says how many entries that is.
func (v View) Print(path string) (shown int, err error) {
	var page bytes.Buffer // of whole lines: what is written must not end within a character
	w := v.W
	v.W = &page
	err = runlog.Each(path, !v.All, func(e runlog.Entry) error {
		if e.At.Before(v.Since) || !v.wants(e) {
			return nil
		}
		shown++
		if err := v.print([]runlog.Entry{e}); err != nil || page.Len() < pageBytes {
			return err
		}
		_, err := page.WriteTo(w)
		return err
	})
	_, last := page.WriteTo(w)
	return shown, errors.Join(err, last)
}

// pageBytes is how much is gathered before it is written: a write for each line takes
// longer than all the rest.
const pageBytes = 64 << 10

// followEvery is how often the log is looked at: often enough for somebody who
// watches.
const followEvery = 200 * time.Millisecond

// Follow prints what is asked for as it is written, until ctx ends.
func (v View) Follow(ctx context.Context, f *runlog.Follow) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		entries, err := f.Next()
		if err != nil {
			return fmt.Errorf("reading the log: %w", err)
		}
		entries = slices.DeleteFunc(entries, func(e runlog.Entry) bool { return !v.wants(e) })
		if err := v.print(entries); err != nil {
			return err
		}
	}
}

// wants says whether an entry is of a kind that is asked for.
func (v View) wants(e runlog.Entry) bool {
	switch {
	case e.Kind == runlog.Ran:
		return (len(v.Hosts) == 0 || slices.Contains(v.Hosts, e.Host.Host)) && (!v.Failed || e.Host.Failed())
	case v.Commands || len(v.Hosts) > 0:
		return false
	case v.Failed:
		return e.Kind == runlog.Lost || e.Kind == runlog.End && e.Ended.Code != 0
	}
	return true
}

func (v View) print(entries []runlog.Entry) error {
	for _, e := range entries {
		var err error
		if v.JSON {
			err = json.NewEncoder(v.W).Encode(e)
		} else {
			_, err = show.Fprintf(v.W, "%s", v.text(e))
		}
		if err != nil {
			return fmt.Errorf("showing the log: %w", err)
		}
	}
	return nil
}

// text is one entry for a person. All that it shows may come from a host.
func (v View) text(e runlog.Entry) show.Own {
	at := show.Sprintf("%s ", e.At.UTC().Format("15:04:05.000"))
	switch e.Kind {
	case runlog.Begin:
		b := e.Begun
		return show.Sprintf("%s\n  begun %s, process %d, by %s in %s, version %s\n", show.Paint(v.Colour, show.Bold, string("$ "+show.Cell(b.Command))),
			e.At.UTC().Format("2006-01-02 15:04:05 UTC"), e.PID, show.Cell(b.Who), show.Cell(b.Folder), show.Cell(b.Version))
	case runlog.Ran:
		return at + v.ran(e.Host)
	case runlog.End:
		end := show.Sprintf("ended with exit code %d after %s", e.Ended.Code, show.Seconds(time.Duration(e.Ended.Seconds*float64(time.Second))))
		if e.Ended.Error != "" {
			end += show.Sprintf(": %s", show.Cell(firstLineOf(e.Ended.Error)))
		}
		return at + end + "\n"
	case runlog.Lost:
		return at + show.Paint(v.Colour, show.Yellow, string("! "+show.Cell(e.Text))) + "\n"
	case runlog.Unread:
		if e.Lines > 1 {
			return at + show.Sprintf("? %d lines that are no entries of the log, the first: %s\n", e.Lines, show.Cell(e.Text))
		}
		return at + "? no entry of the log: " + show.Cell(e.Text) + "\n"
	case runlog.Out, runlog.Err:
	}
	return at + "| " + show.Cell(e.Text) + "\n"
}

// ran is one command on a host: what came of it, and what it was.
func (v View) ran(h *runlog.OnHost) show.Own {
	how := show.Sprintf("status %d", h.Status)
	if h.Error != "" {
		how = "no status"
	}
	if h.Failed() {
		how = show.Paint(v.Colour, show.Red, string(how))
	}
	line := show.Sprintf("%s: %s, %.2f s: %s", show.Cell(h.Host), how, h.Seconds, show.Cell(h.Name))
	if h.Detached {
		line += " (detached)"
	}
	for _, d := range []struct {
		what string
		of   *runlog.Digest
	}{{"in", h.Stdin}, {"out", h.Stdout}} {
		if d.of != nil {
			line += show.Sprintf(" [%s %d bytes %s]", d.what, d.of.Bytes, show.Cell(d.of.SHA256))
		}
	}
	line += "\n"
	for more := range strings.Lines(h.Stderr + "\n" + h.Error) {
		if more = strings.TrimSpace(more); more != "" {
			line += "             > " + show.Cell(more) + "\n"
		}
	}
	return line
}

func firstLineOf(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
