package show

import (
	"io"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// Diff prints what changes in a text, as a unified diff with an empty line behind it.
func Diff(w io.Writer, name, before, after string, colour bool) {
	for line := range strings.Lines(udiff.Unified("a/"+name, "b/"+name, before, after)) {
		// Each begins with a sign of the diff's, so none passes for a line of ours.
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "+"):
			_, _ = Fprintln(w, Paint(colour, Green, line))
		case strings.HasPrefix(line, "-"):
			_, _ = Fprintln(w, Paint(colour, Red, line))
		default:
			_, _ = Fprintln(w, line)
		}
	}
	_, _ = Fprintln(w)
}
