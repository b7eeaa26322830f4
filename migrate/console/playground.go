package console

import (
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
	"time"

	"hamigrate/migrate/playground"
	"hamigrate/migrate/show"
)

// PrintPlayground prints a playground for people.
func PrintPlayground(w io.Writer, s playground.Status) error {
	state := "complete"
	switch {
	case !s.Complete:
		state = "half made: `migrate playground up` makes it again, `down` removes it"
	case s.Objects > 0 && !s.Filled:
		state = fmt.Sprintf("not yet filled: `migrate playground up` with the same options writes those of its %d objects that are missing", s.Objects)
	case s.Filled:
		state = fmt.Sprintf("complete, filled with %d objects", s.Objects)
	}
	show.Fprintf(w, "playground %s, Kubernetes %s, %s\n%s\n\n", s.Name, s.Kubernetes, state, s.Dir)
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	show.Fprintln(t, "HOST\tROLE\tADDRESS\tPOWER\tSSH")
	for _, h := range s.Hosts {
		power, ssh := "off", "no answer"
		if h.On {
			power = "on"
		}
		if h.SSH {
			ssh = "answers"
		}
		show.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", h.Name, h.Role, h.Address, power, ssh)
	}
	return t.Flush()
}

// PlaygroundEvents prints progress: seconds since the start on a terminal,
// the time of day elsewhere, where the lines may be read much later.
func PlaygroundEvents(w io.Writer) playground.Events {
	began := time.Now()
	terminal := show.IsTerminal(w)
	var mu sync.Mutex
	return func(message string) {
		mu.Lock()
		defer mu.Unlock()
		if terminal {
			show.Fprintf(w, "%5.0fs  %s\n", time.Since(began).Seconds(), message)
			return
		}
		show.Fprintf(w, "%s %s\n", time.Now().UTC().Format(time.RFC3339), message)
	}
}
