package preflight

import (
	"context"
	"errors"
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

// Severity is how bad a finding is.
type Severity string

// The severities. Blocking means: the phases it names would fail, or hurt.
const (
	OK       Severity = "ok"
	Warning  Severity = "warning"
	Blocking Severity = "blocking"
)

// Check is one thing to look at, as data.
type Check struct {
	Number int
	// Name is what --ignore takes; never renamed, never reused.
	Name   string
	Title  string // what is wanted
	Why    string // one sentence: what happens without it
	Remedy string // one sentence with a command; a finding may have a closer one
	// On lists the hosts and, for each kind of host, the phases it matters for.
	On []Where
	// Look looks at one host, or at the cluster as a whole.
	Look func(context.Context, Scene) ([]Finding, error)
	// Try is a Look that has to make something for a moment. Exactly one of
	// the two is set.
	Try func(context.Context, Scene, phases.Writer) ([]Finding, error)
	// Limit bounds it; 0: checkLimit, or tryLimit.
	Limit time.Duration
}

// Where is a kind of hosts with the phases for which a check matters there.
type Where struct {
	On     migrate.Selector
	Phases []int
}

// Finding is what a check saw on a host.
type Finding struct {
	Severity Severity
	Seen     string
	Remedy   string // empty: the check's
	Command  string // that Remedy ends with, behind ": "; it is shown on a line of its own
	Host     string // empty: the one that was looked at
	Phases   []int  // nil: those of the check for that host
}

// Result is a Finding with all that a reader wants to know of it.
type Result struct {
	Number   int      `json:"number"`
	Check    string   `json:"check"`
	Host     string   `json:"host"`
	Phases   []int    `json:"phases"`
	Severity Severity `json:"severity"`
	Seen     string   `json:"seen"`
	Why      string   `json:"why,omitempty"`
	Remedy   string   `json:"remedy,omitempty"`
	Command  string   `json:"command,omitempty"` // that Remedy ends with
	Ignored  bool     `json:"ignored,omitempty"`
}

// Report is the results of all checks, by number and then in the order of
// the hosts.
type Report struct {
	Hosts   []string `json:"hosts"`
	Results []Result `json:"results"`
	Seconds float64  `json:"seconds"`
}

// Blocking lists the results that block and are not ignored.
func (r Report) Blocking() []Result {
	return slices.DeleteFunc(slices.Clone(r.Results), func(x Result) bool { return x.Severity != Blocking || x.Ignored })
}

// Count says how many results have a severity, the ignored ones left out.
func (r Report) Count(s Severity) int {
	n := 0
	for _, x := range r.Results {
		if x.Severity == s && !x.Ignored {
			n++
		}
	}
	return n
}

// All is what --ignore takes for every check.
const All = "all"

// Options say what is looked at.
type Options struct {
	Phase  int      // 0: all of them
	Ignore []string // names of checks, in any letter case, or All
	// LookOnly leaves out the checks that have to make something.
	LookOnly bool
	// InPlace: no second API server will run beside the real one.
	InPlace bool
	// Plan checks every step of a phase, as `migrate plan` does; nil: the caller
	// does that by itself.
	Plan func(ctx context.Context, phase int) ([]migrate.Entry, error)
	// Tell hears how many of how many hosts are done, one call after the other;
	// it may be nil.
	Tell func(done, total int)
}

// Validate says which of the names to ignore is none.
func Validate(ignore []string) error {
	for _, name := range ignore {
		if !strings.EqualFold(name, All) && !slices.ContainsFunc(Checks(), func(c Check) bool { return strings.EqualFold(name, c.Name) }) {
			return fmt.Errorf("there is no check %q: docs/preflight.md lists them", name)
		}
	}
	return nil
}

// Limits. A host that does not answer must not hold up the others. The times are for
// a command that hangs; a busy host takes ten seconds for what takes one else.
const (
	checkLimit = 30 * time.Second
	tryLimit   = time.Minute
)

// Run looks at all hosts side by side. Its error is about the program's own
// trouble; what is wrong with the cluster is in the report.
func Run(ctx context.Context, world *phases.Access, o Options) (Report, error) {
	if err := Validate(o.Ignore); err != nil {
		return Report{}, err
	}
	start := time.Now()
	s := &inspection{world: world, options: o, facts: map[string]*Facts{}}
	for _, c := range Checks() {
		if !o.LookOnly || c.Look != nil {
			s.checks = append(s.checks, c)
		}
	}
	// Listing the workers goes through this host and has a deadline. That the
	// login fails is said when the host is visited.
	_ = world.Reach(ctx, world.Reader(migrate.ClusterTarget).First().Name)
	s.findHosts(ctx)
	s.visitAll(ctx)
	if err := context.Cause(ctx); err != nil {
		return Report{}, fmt.Errorf("looking at the hosts: %w", err)
	}
	s.look(ctx, migrate.ClusterTarget)
	if err := context.Cause(ctx); err != nil {
		return Report{}, fmt.Errorf("looking at the cluster: %w", err)
	}
	return s.report(time.Since(start)), nil
}

// inspection is one run of the checks.
type inspection struct {
	world   *phases.Access
	options Options
	checks  []Check
	hosts   []survey.Target

	mu      sync.Mutex
	facts   map[string]*Facts // of the hosts that answered
	results []Result
	done    int
}

// scoped says for which phases a check matters on hosts of a kind, of those
// that are asked for.
func (s *inspection) scoped(c Check, role migrate.Selector) []int {
	for _, w := range c.On {
		if w.On != role {
			continue
		}
		if s.options.Phase == 0 {
			return w.Phases
		}
		if slices.Contains(w.Phases, s.options.Phase) {
			return []int{s.options.Phase}
		}
	}
	return nil
}

// findHosts lists the hosts that the phases asked for touch. Workers that the
// spec does not name are asked of the API server; where it does not answer,
// the checks of the first control-plane node say so.
func (s *inspection) findHosts(ctx context.Context) {
	roles := slices.DeleteFunc([]migrate.Selector{migrate.FirstControlPlane, migrate.JoiningControlPlanes, migrate.EtcdHosts, migrate.LoadBalancers, migrate.Workers},
		func(role migrate.Selector) bool {
			return !slices.ContainsFunc(s.checks, func(c Check) bool { return s.scoped(c, role) != nil })
		})
	hosts, unlisted := survey.Hosts(ctx, s.world, checkLimit, roles...)
	for _, u := range unlisted {
		s.add(named(loginName), survey.Target{Name: migrate.ClusterTarget, Role: u.Role}, Finding{Severity: Blocking, Seen: fmt.Sprintf("the workers could not be listed: %v", u)})
	}
	s.hosts = append(s.hosts, hosts...)
}

// visitAll looks at each host, some of them at once. The facts of the first
// control-plane node come before: others are compared with it, and where its
// facts are not there yet, nothing would be found to differ.
func (s *inspection) visitAll(ctx context.Context) {
	arrived := false
	isFirst := func(t survey.Target) bool { return t.Role == migrate.FirstControlPlane }
	if i := slices.IndexFunc(s.hosts, isFirst); i >= 0 {
		arrived = s.arrive(ctx, s.hosts[i])
	}
	survey.Visit(s.hosts, func(t survey.Target) {
		if isFirst(t) && arrived || !isFirst(t) && s.arrive(ctx, t) {
			s.look(ctx, t.Name)
		}
	})
}

// arrive logs in, for which there is no deadline, and reads the facts.
func (s *inspection) arrive(ctx context.Context, t survey.Target) bool {
	var facts *Facts
	err := s.world.Reach(ctx, t.Name)
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, checkLimit+othersTime)
		defer cancel()
		facts, err = readFacts(limited, s.world.Reader(t.Name))
	}
	if err != nil {
		f := Finding{Severity: Blocking, Seen: fmt.Sprintf("%v; no other check was done on it", err)}
		s.add(named(loginName), t, f)
		return false
	}
	facts.host, facts.role = t.Name, t.Role
	s.mu.Lock()
	defer s.mu.Unlock()
	s.facts[t.Name] = facts
	return true
}

// look does a host's checks, or those of the cluster, one after the other on
// a host: sshd allows it few sessions at once.
func (s *inspection) look(ctx context.Context, name string) {
	role := migrate.Once
	if i := slices.IndexFunc(s.hosts, func(t survey.Target) bool { return t.Name == name }); i >= 0 {
		role = s.hosts[i].Role
	} else if s.facts[s.world.Reader(name).First().Name] == nil {
		return // the login to it has failed, and says so
	}
	t := survey.Target{Name: name, Role: role}
	each := func(c Check) {
		if s.scoped(c, role) != nil {
			s.one(ctx, c, t)
		}
	}
	if role != migrate.Once {
		for _, c := range s.checks {
			each(c)
		}
		s.tell()
		return
	}
	_ = parallel.Each(s.checks, func(_ int, c Check) error {
		if c.Look != nil {
			each(c)
		}
		return nil
	})
	// Afterwards: what listens on etcd's ports for a moment would be taken for
	// members by those that look for them.
	for _, c := range s.checks {
		if c.Try != nil {
			each(c)
		}
	}
}

// one does one check. A check that could not be done is not one that found
// nothing: it blocks.
func (s *inspection) one(ctx context.Context, c Check, t survey.Target) {
	limit := checkLimit
	if c.Try != nil {
		limit = tryLimit
	}
	if c.Limit > 0 {
		limit = c.Limit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	scene := Scene{Reader: s.world.Reader(t.Name), survey: s}
	var found []Finding
	var err error
	if c.Try != nil {
		found, err = c.Try(ctx, scene, s.world.Writer(t.Name))
	} else {
		found, err = c.Look(ctx, scene)
	}
	var looksOnly *remote.LooksOnlyError
	switch {
	case errors.As(err, &looksOnly):
		found = append(found, notLooked(looksOnly))
	case err != nil:
		found = append(found, block(fmt.Sprintf("fix what the message names, or leave the check out with --ignore %s", c.Name), "it could not be looked at: %v", err))
	}
	s.add(c, t, found...)
}

// notLooked is a check that has to make something where the login may only
// look: nothing is known, which is neither good nor bad.
func notLooked(e *remote.LooksOnlyError) Finding {
	return Finding{Severity: Warning, Seen: fmt.Sprintf("not looked at: this login (%s) may only look", e.User),
		Remedy: "allow changes with: " + e.Allow, Command: e.Allow}
}

func (s *inspection) add(c Check, t survey.Target, found ...Finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ignored := slices.ContainsFunc(s.options.Ignore, func(n string) bool { return strings.EqualFold(n, All) || strings.EqualFold(n, c.Name) })
	for _, f := range found {
		r := Result{Number: c.Number, Check: c.Name, Host: t.Name, Severity: f.Severity, Seen: f.Seen, Phases: s.scoped(c, t.Role)}
		if f.Host != "" {
			r.Host = f.Host
		}
		if f.Phases != nil {
			r.Phases = f.Phases
		}
		if p := s.options.Phase; p != 0 && !slices.Contains(r.Phases, p) {
			continue
		}
		if f.Severity != OK {
			r.Why, r.Remedy, r.Command, r.Ignored = c.Why, f.Remedy, f.Command, ignored
			if r.Remedy == "" {
				r.Remedy = c.Remedy
			}
		}
		s.results = append(s.results, r)
	}
}

func (s *inspection) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done++
	if s.options.Tell != nil {
		s.options.Tell(s.done, len(s.hosts))
	}
}

func (s *inspection) report(took time.Duration) Report {
	r := Report{Results: toldElsewhere(s.results), Seconds: took.Seconds()}
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
	return r
}
