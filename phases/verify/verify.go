// Package verify looks at any time whether a migrated cluster is what the
// migration left: numbered, named checks on every host side by side, each with
// what was seen, why it matters, and the remedy.
//
// It goes by the spec and the cluster alone. No journal is read: what was
// believed at the time of the migration says nothing about today. The checks
// are data (checks.go), and `migrate verify` and docs/verify.md read that one
// list. They get a Reader, which has no method that changes anything.
package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/survey"
)

// Check is one part of the end state, as data.
type Check struct {
	Number int
	Name   string // never renamed, never reused
	Title  string // what is so on a migrated cluster
	Why    string // one sentence: what happens where it is not so
	Remedy string // one sentence with a command; a finding may have a closer one
	On     []migrate.Selector
	Limit  time.Duration // of Look; 0: checkLimit
	// Look looks at the Reader's target, a host or the cluster as a whole.
	Look func(context.Context, phases.Reader) ([]Finding, error)
}

// Finding is what a check saw.
type Finding struct {
	OK      bool
	Warning bool // it is not a fault of the migration's, and a person should know it
	Seen    string
	Remedy  string // empty: the check's
	Command string // that Remedy ends with, behind ": "; it is shown on a line of its own
	Item    string // of a benchmark, "1.1.1"
	File    string // that it is about
	carried bool   // that file is a copy of the first node's, and nobody's of the migration
}

// Result is a Finding with all that a reader wants to know of it. Its JSON is
// for scripts.
type Result struct {
	Number int    `json:"number"`
	Check  string `json:"check"`
	Host   string `json:"host"`
	OK     bool   `json:"ok"`
	// Warning goes with OK: nothing that the migration has made is at fault.
	Warning bool   `json:"warning,omitempty"`
	Item    string `json:"item,omitempty"`
	File    string `json:"file,omitempty"`
	Seen    string `json:"seen"`
	Why     string `json:"why,omitempty"`
	Remedy  string `json:"remedy,omitempty"`
	Command string `json:"command,omitempty"` // that Remedy ends with
}

// Report is the results of all checks, by number and then in the order of the
// hosts.
type Report struct {
	Cluster  string   `json:"cluster"`
	Hosts    []string `json:"hosts"`
	Results  []Result `json:"results"`
	Degraded bool     `json:"degraded"`
	Seconds  float64  `json:"seconds"`
}

// Bad lists the results that are not so.
func (r Report) Bad() []Result {
	return slices.DeleteFunc(slices.Clone(r.Results), func(x Result) bool { return x.OK })
}

// Limits: a host that does not answer must not hold up the others.
const (
	loginLimit = 15 * time.Second
	checkLimit = 30 * time.Second
	// hashLimit is for what reads a whole database.
	hashLimit = 5 * time.Minute
)

// Run looks at all hosts side by side; tell, which may be nil, hears how many
// of how many are done. Its error is about the program's own trouble; what is
// not so on the cluster is in the report.
func Run(ctx context.Context, world *phases.Access, tell func(done, total int)) (Report, error) {
	start := time.Now()
	s := &inspection{world: world, tell: tell}
	first := world.Reader(migrate.ClusterTarget).First().Name
	if s.arrive(ctx, survey.Target{Name: first, Role: migrate.FirstControlPlane}) {
		s.hosts = nil
		s.findHosts(ctx)
		s.visitAll(ctx)
		if !s.cut(ctx) {
			s.look(ctx, survey.Target{Name: migrate.ClusterTarget, Role: migrate.Once})
		}
	}
	if err := context.Cause(ctx); err != nil {
		return Report{}, fmt.Errorf("looking at the cluster: %w", err)
	}
	return s.report(time.Since(start)), nil
}

// inspection is one run of the checks.
type inspection struct {
	world *phases.Access
	tell  func(done, total int)
	hosts []survey.Target

	mu      sync.Mutex
	results []Result
	done    int
}

func (s *inspection) cut(ctx context.Context) bool { return ctx.Err() != nil }

// roles are the kinds of hosts, in the order of the report.
func roles() []migrate.Selector {
	return []migrate.Selector{migrate.FirstControlPlane, migrate.JoiningControlPlanes, migrate.EtcdHosts, migrate.LoadBalancers, migrate.Workers}
}

// findHosts lists the hosts. Workers that the spec does not name are asked of
// the API server.
func (s *inspection) findHosts(ctx context.Context) {
	hosts, unlisted := survey.Hosts(ctx, s.world, checkLimit, roles()...)
	for _, u := range unlisted {
		s.add(named(reachedName), migrate.ClusterTarget, Finding{Seen: fmt.Sprintf("the workers could not be listed: %v", u)})
	}
	s.hosts = append(s.hosts, hosts...)
}

// visitAll looks at each host, some of them at once.
func (s *inspection) visitAll(ctx context.Context) {
	survey.Visit(s.hosts, func(t survey.Target) {
		if t.Role == migrate.FirstControlPlane || s.arrive(ctx, t) {
			s.look(ctx, t)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.done++; s.tell != nil {
			s.tell(s.done, len(s.hosts))
		}
	})
}

// arrive logs in. What is asked through a host that is not reached is not
// asked; through the first control-plane node that is everything.
func (s *inspection) arrive(ctx context.Context, t survey.Target) bool {
	err := s.world.Reach(ctx, t.Name) // it may ask for a password: no deadline
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, loginLimit)
		defer cancel()
		_, err = s.world.Reader(t.Name).On(t.Name).Look(limited, remote.Cmd("true"))
	}
	c := named(reachedName)
	switch {
	case err == nil:
		s.add(c, t.Name, so("commands run on it"))
	case t.Role == migrate.FirstControlPlane:
		s.hosts = []survey.Target{t}
		s.add(c, t.Name, not("", "%v; the API and etcd are asked from there, so nothing else was looked at", err))
	default:
		s.add(c, t.Name, not("", "%v; nothing else was looked at on it", err))
	}
	return err == nil
}

// look does a host's checks one after the other, since sshd allows it few
// sessions at once, and those of the cluster side by side.
func (s *inspection) look(ctx context.Context, t survey.Target) {
	var mine []Check
	for _, c := range Checks() {
		if c.Look != nil && slices.Contains(c.On, t.Role) {
			mine = append(mine, c)
		}
	}
	if t.Role != migrate.Once {
		for _, c := range mine {
			s.one(ctx, c, t)
		}
		return
	}
	_ = parallel.Each(mine, func(_ int, c Check) error { s.one(ctx, c, t); return nil })
}

// one does one check. One that could not be done is not one that found all to
// be well.
func (s *inspection) one(ctx context.Context, c Check, t survey.Target) {
	limit := checkLimit
	if c.Limit > 0 {
		limit = c.Limit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	found, err := c.Look(ctx, s.world.Reader(t.Name))
	if err != nil {
		found = append(found, not("", "it could not be looked at: %v", err))
	}
	s.add(c, t.Name, found...)
}

func (s *inspection) add(c Check, host string, found ...Finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range found {
		r := Result{Number: c.Number, Check: c.Name, Host: host, OK: f.OK, Warning: f.Warning, Item: f.Item, File: f.File, Seen: f.Seen}
		if !f.OK || f.Warning {
			r.Why, r.Remedy, r.Command = c.Why, f.Remedy, f.Command
			if r.Remedy == "" {
				r.Remedy = c.Remedy
			}
		}
		s.results = append(s.results, r)
	}
}

func (s *inspection) report(took time.Duration) Report {
	r := Report{Cluster: s.world.Reader(migrate.ClusterTarget).Spec().Name, Results: s.results, Seconds: took.Seconds()}
	place := map[string]int{migrate.ClusterTarget: -1}
	for i, t := range s.hosts {
		r.Hosts = append(r.Hosts, t.Name)
		place[t.Name] = i
	}
	slices.SortStableFunc(r.Results, func(a, b Result) int {
		if a.Number != b.Number {
			return a.Number - b.Number
		}
		return place[a.Host] - place[b.Host]
	})
	r.Degraded = len(r.Bad()) > 0
	return r
}

// The findings of a check.

func so(format string, args ...any) Finding {
	return Finding{OK: true, Seen: fmt.Sprintf(format, args...)}
}

func not(remedy, format string, args ...any) Finding {
	args, command := remote.AllowingIn(args)
	if command != "" {
		remedy = "allow it with: " + command
	}
	return Finding{Seen: fmt.Sprintf(format, args...), Remedy: remedy, Command: command}
}

// passOrFail is a finding from a list of what is wrong: none is all well.
func passOrFail(wrong []string, format string, args ...any) []Finding {
	if len(wrong) == 0 {
		return []Finding{so(format, args...)}
	}
	return []Finding{not("", "%s", strings.Join(wrong, "; "))}
}

// wanted is the finding of a function that says by its error what is not so.
func wanted(err error, format string, args ...any) []Finding {
	if err != nil {
		return []Finding{not("", "%v", err)}
	}
	return []Finding{so(format, args...)}
}
