package phasestest

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// flow is a connection that the kernel of a host still knows: it was opened to
// an address, and what was behind another one answered.
type flow struct {
	state         string // conntrack's, as TIME_WAIT
	to, repliedBy string // host:port
}

// RememberClosed makes the host's kernel know a connection to an address that
// an API server has answered, and which is closed.
func (h *Host) RememberClosed(state, to, repliedBy string) {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	h.flows = append(h.flows, flow{state: state, to: to, repliedBy: repliedBy})
}

// conntrack plays `-D -p tcp --state S`, with the original and the replying
// end as filters. That nothing was found is an error there.
func conntrack(p program) error {
	flags, rest := p.options("-p", "--state", "-d", "--orig-port-dst", "--reply-src", "--reply-port-src")
	if _, del := flags["-D"]; !del || flags["-p"] != "tcp" || flags["--state"] == "" || len(rest) > 0 {
		return fmt.Errorf("%q is not played", p.args)
	}
	n := len(p.host.flows)
	p.host.flows = slices.DeleteFunc(p.host.flows, func(f flow) bool {
		to, toPort, _ := net.SplitHostPort(f.to)
		by, byPort, _ := net.SplitHostPort(f.repliedBy)
		for flag, is := range map[string]string{"--state": f.state, "-d": to, "--orig-port-dst": toPort, "--reply-src": by, "--reply-port-src": byPort} {
			if want, asked := flags[flag]; asked && want != is {
				return false
			}
		}
		return true
	})
	if len(p.host.flows) == n {
		return errors.New("conntrack v1.4.7 (conntrack-tools): 0 flow entries have been deleted.")
	}
	return nil
}

// neverRefused is broken where the redirect of a leaving node ends while some
// node still sends whoever uses an old port again there.
func (w *World) neverRefused(leaving *Host) {
	for _, h := range w.all() {
		for _, f := range h.flows {
			if strings.HasPrefix(f.repliedBy, leaving.address+":") && h != leaving {
				w.never("the redirect of %s ended while %s knew a closed connection that it had answered", leaving.Name(), h.Name())
			}
		}
	}
}
