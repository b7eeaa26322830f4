package console

import (
	"io"

	"hamigrate/migrate/show"
)

// Ending shows how a run ended that did not end well.
type Ending struct {
	W     io.Writer
	Flags string // those that name the cluster, for commands in the error
}

// Failed shows the error.
func (e Ending) Failed(err error) {
	show.Fprintf(e.W, "migrate: %s\n\n", Lines(err, e.Flags))
}

// Ended shows what is true now, what was changed, and the next command.
func (e Ending) Ended(rows [][2]string) {
	for _, r := range rows {
		show.Fprintf(e.W, "  %-9s %s\n", r[0], r[1])
	}
}
