package main

import (
	"io"

	"hamigrate/migrate/show"
)

// endingHere shows how a run ended that did not end well.
type endingHere struct {
	w     io.Writer
	flags string // those that name the cluster, for commands in the error
}

// Failed shows the error.
func (e endingHere) Failed(err error) {
	show.Fprintf(e.w, "migrate: %s\n\n", inLines(err, e.flags))
}

// Ended shows what is true now, what was changed, and the next command.
func (e endingHere) Ended(rows [][2]string) {
	for _, r := range rows {
		show.Fprintf(e.w, "  %-9s %s\n", r[0], r[1])
	}
}
