package preflight

import (
	"fmt"
	"slices"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// Scene is what a check looks at: the cluster, through the Reader of its host,
// and the facts of all hosts that answered.
type Scene struct {
	phases.Reader
	survey *inspection
}

// Facts are those of the host that is looked at.
func (s Scene) Facts() *Facts { return s.Of(s.Target()) }

// Of are the facts of a host, nil where it did not answer.
func (s Scene) Of(host string) *Facts {
	s.survey.mu.Lock()
	defer s.survey.mu.Unlock()
	return s.survey.facts[host]
}

// Answered lists the facts of the hosts of some kinds, of all without one, in
// the order of the hosts.
func (s Scene) Answered(roles ...migrate.Selector) []*Facts {
	var out []*Facts
	for _, t := range s.survey.hosts {
		if f := s.Of(t.Name); f != nil && (len(roles) == 0 || slices.Contains(roles, t.Role)) {
			out = append(out, f)
		}
	}
	return out
}

// The findings of a check.

func fine(format string, args ...any) Finding {
	return Finding{Severity: OK, Seen: fmt.Sprintf(format, args...)}
}

func warn(remedy, format string, args ...any) Finding {
	return bad(Warning, remedy, format, args)
}

func block(remedy, format string, args ...any) Finding {
	return bad(Blocking, remedy, format, args)
}

// bad is a finding that is not fine. Where it is so since sudo refused something,
// the remedy is to allow it.
func bad(s Severity, remedy, format string, args []any) Finding {
	args, command := remote.AllowingIn(args)
	if command != "" {
		remedy = "allow it with: " + command
	}
	return Finding{Severity: s, Seen: fmt.Sprintf(format, args...), Remedy: remedy, Command: command}
}

// on is a finding about another host than the one that was looked at.
func (f Finding) on(host string) Finding { f.Host = host; return f }

// only is a finding that matters for these phases alone.
func (f Finding) only(phases ...int) Finding { f.Phases = phases; return f }
