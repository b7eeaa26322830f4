package show

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// descriptor is a file, or a writer that ends at one.
type descriptor interface{ Fd() uintptr }

// IsTerminal says whether w is a terminal, where colours and moving lines
// are welcome.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(descriptor)
	return ok && term.IsTerminal(int(f.Fd()))
}

// WantColour follows https://no-color.org.
func WantColour(w io.Writer) bool {
	return IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// Paint wraps s in a colour where it is wanted. What of others is in s is quoted.
func Paint(on bool, colour Own, s string) Own {
	if !on {
		return Foreign(s)
	}
	return colour + Foreign(s) + Reset
}

// Seconds writes a duration as people time steps.
func Seconds(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
}

// Columns is the width of a terminal, 0 where w is none or has not said it.
func Columns(w io.Writer) int {
	f, ok := w.(descriptor)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}
