package console

import (
	"fmt"
	"io"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/show"
)

// Waits tells a person for which host the program waits. They are lines that
// stay, on a terminal, too: what one host has kept the program from is to be
// seen afterwards.
type Waits struct{ W io.Writer }

// Tell is sshhost.Options.Waits.
func (l Waits) Tell(wait remote.Wait) {
	if show.IsTerminal(l.W) { // where tellHosts may have a line that moves
		show.Fprintf(l.W, "%s%s\n", show.Rewrite, waitText(wait))
		return
	}
	show.Fprintf(l.W, "%s %s\n", time.Now().UTC().Format("15:04:05Z"), waitText(wait))
}

func waitText(wait remote.Wait) string {
	return fmt.Sprintf("still waiting for %s: %s (%.0f s)", wait.Host, wait.For, wait.Lasts.Seconds())
}

// Waits says for which host a run waits, unless the step at hand has said for what
// it does. The line that moves on the screen is not broken by it.
func (p *Progress) Waits(wait remote.Wait) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.Kind != migrate.EventStepWaiting {
		p.line(show.Foreign(waitText(wait)))
	}
}
