package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/show"
)

// waitLines tells a person for which host the program waits. They are lines that
// stay, on a terminal, too: what one host has kept the program from is to be
// seen afterwards.
type waitLines struct {
	w io.Writer

	mu  sync.Mutex
	bar *progress // prints them, once a run has one
}

// through lets the progress of a run print them: it may have a moving line on
// the screen, and says itself what a step waits for.
func (l *waitLines) through(bar *progress) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bar = bar
}

// tell is sshhost.Options.Waits.
func (l *waitLines) tell(wait remote.Wait) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := fmt.Sprintf("still waiting for %s: %s (%.0f s)", wait.Host, wait.For, wait.Lasts.Seconds())
	switch {
	case l.bar != nil:
		l.bar.stillWaits(text)
	case show.IsTerminal(l.w): // where tellHosts may have a line that moves
		show.Fprintf(l.w, "%s%s\n", show.Rewrite, text)
	default:
		show.Fprintf(l.w, "%s %s\n", time.Now().UTC().Format("15:04:05Z"), text)
	}
}

// stillWaits says for which host a run waits, unless the step at hand has said
// for what it does.
func (p *progress) stillWaits(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.Kind != migrate.EventStepWaiting {
		p.line(show.Foreign(text))
	}
}
