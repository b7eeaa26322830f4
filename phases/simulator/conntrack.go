package simulator

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// conntrack plays `-D -p tcp --state CLOSE` for those that an address has
// answered. That there were none is an error there.
func conntrack(p program) error {
	flags, rest := p.options("-p", "--state", "--reply-src", "--reply-port-src")
	by := net.JoinHostPort(flags["--reply-src"], flags["--reply-port-src"])
	if _, del := flags["-D"]; !del || flags["-p"] != "tcp" || flags["--state"] != "CLOSE" || by == ":" || len(rest) > 0 {
		return fmt.Errorf("%q is not played", p.args)
	}
	n := len(p.host.conntrack)
	p.host.conntrack = slices.DeleteFunc(p.host.conntrack, func(f conntrackEntry) bool { return f.answeredBy == by })
	if len(p.host.conntrack) == n {
		return errors.New("conntrack v1.4.7 (conntrack-tools): 0 flow entries have been deleted.") //nolint:staticcheck // conntrack's words
	}
	return nil
}

// neverRefused is broken where the redirect of a leaving node ends while a node
// still sends whoever uses an old port again there.
func (w *World) neverRefused(leaving *Host) {
	for _, h := range w.all() {
		if w.node(h.Name()) == nil {
			continue
		}
		for _, f := range h.conntrack {
			if strings.HasPrefix(f.answeredBy, leaving.address+":") {
				w.never("the redirect of %s ended while %s knew a connection that its API server had reset", leaving.Name(), h.Name())
			}
		}
	}
}
