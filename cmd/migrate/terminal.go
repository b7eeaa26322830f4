package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"hamigrate/migrate/show"

	"golang.org/x/term"
)

// isTerminal says whether w is a terminal, where colours and moving lines
// are welcome.
func isTerminal(w io.Writer) bool {
	if o, ok := w.(output); ok {
		w = o.file
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// wantColour follows https://no-color.org.
func wantColour(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// paint wraps s in a colour where it is wanted. What of others is in s is quoted.
func paint(on bool, colour show.Own, s string) show.Own {
	if !on {
		return show.Foreign(s)
	}
	return colour + show.Foreign(s) + show.Reset
}

// seconds writes a duration as people time steps.
func seconds(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
}
