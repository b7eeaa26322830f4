// Package audit finds the single points of failure of a cluster: what is there
// once, what its loss would do and for how long, whether the migration removes
// it, and what would where it does not.
//
// It only looks, and is of use alone: before a migration, after one, and on a
// cluster that is never migrated. It goes by the cluster, not by a journal.
// The points are data (points.go), and `migrate audit` and docs/audit.md read
// that one list. Of Secrets it tells names and keys, never what they hold.
package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"

	corev1 "k8s.io/api/core/v1"
)

// State is how a point stands.
type State string

// The states. Adds is a point that is not there yet and that the migration
// brings along.
const (
	Single    State = "single"
	Redundant State = "redundant"
	Adds      State = "added by the migration"
	Unknown   State = "unknown"
)

// Point is one thing that may be there only once, as data.
type Point struct {
	Number int
	Name   string // never renamed, never reused
	Title  string
	Loss   string // what its loss does
	Lasts  string // for how long
	// Phases are those of the migration that remove it; none: it does not.
	Phases []int
	// Otherwise is what removes it where the migration does not, or what is
	// left to do besides.
	Otherwise string
	Look      func(context.Context, *scene) (Seen, error)
}

// Seen is what was seen of a point.
type Seen struct {
	State State
	Text  string
	// Where lists objects, files and hosts, one a line.
	Where []string
	// Remains lists those of Where that the migration leaves as they are.
	Remains []string
}

// Result is a point with what was seen. Its JSON is for scripts.
type Result struct {
	Number    int      `json:"number"`
	Point     string   `json:"point"`
	Title     string   `json:"title"`
	State     State    `json:"state"`
	Seen      string   `json:"seen"`
	Where     []string `json:"where,omitempty"`
	Loss      string   `json:"loss"`
	Lasts     string   `json:"lasts"`
	RemovedBy string   `json:"removedBy"` // "phase 1", "phases 2 and 3", "no"
	Remains   []string `json:"remains,omitempty"`
	Otherwise string   `json:"otherwise,omitempty"`
}

// Report is all points, and an honest word on whether it is worth it.
type Report struct {
	Cluster string   `json:"cluster"`
	Results []Result `json:"points"`
	Need    Need     `json:"need"`
	Unread  []string `json:"unread,omitempty"` // hosts that were not reached, and why
	Seconds float64  `json:"seconds"`
}

// Count says how many points have a state.
func (r Report) Count(s State) int {
	n := 0
	for _, x := range r.Results {
		if x.State == s {
			n++
		}
	}
	return n
}

// lookLimit bounds what is asked for one point.
const lookLimit = 30 * time.Second

// Run looks at everything. Its error is about what nothing can be said
// without: the API.
func Run(ctx context.Context, world *phases.Access) (Report, error) {
	start := time.Now()
	s, err := newScene(ctx, world)
	if err != nil {
		return Report{}, err
	}
	// A login may ask for a password, and has no deadline here. Those that fail
	// are told by the points that need the host.
	_ = parallel.Each(s.readable(ctx), func(_ int, node string) error { return world.Reach(ctx, node) })
	points := Points()
	results := make([]Result, len(points))
	_ = parallel.Each(points, func(i int, p Point) error {
		limited, cancel := context.WithTimeout(ctx, lookLimit)
		defer cancel()
		seen, err := p.Look(limited, s)
		if err != nil {
			seen = Seen{State: Unknown, Text: fmt.Sprintf("it could not be looked at: %v", err)}
			if sentence, command := remote.Allowing(err); command != "" {
				seen.Text = fmt.Sprintf("it could not be looked at: %s; allow it with: %s", sentence, command)
			}
		}
		results[i] = p.result(seen)
		return nil
	})
	if err := context.Cause(ctx); err != nil {
		return Report{}, fmt.Errorf("looking at the cluster: %w", err)
	}
	need, err := s.need(ctx)
	if err != nil {
		return Report{}, err
	}
	return Report{Cluster: s.Spec().Name, Results: results, Need: need, Unread: s.unreadHosts(), Seconds: time.Since(start).Seconds()}, nil
}

func (p Point) result(seen Seen) Result {
	r := Result{Number: p.Number, Point: p.Name, Title: p.Title, State: seen.State, Seen: seen.Text, Where: seen.Where,
		Loss: p.Loss, Lasts: p.Lasts, RemovedBy: removedBy(p.Phases), Remains: seen.Remains, Otherwise: p.Otherwise}
	// Of files and objects, the migration changes some and leaves others.
	if len(p.Phases) > 0 && len(seen.Where) > 0 && len(seen.Remains) == len(seen.Where) {
		r.RemovedBy = removedBy(nil)
	}
	return r
}

// removedBy is "phase 1", "phases 1 and 3", or "no".
func removedBy(list []int) string {
	var words []string
	for _, n := range list {
		words = append(words, fmt.Sprint(n))
	}
	switch len(words) {
	case 0:
		return "no"
	case 1:
		return "phase " + words[0]
	}
	return "phases " + strings.Join(words, " and ")
}

// scene is what the points are looked at with: what several of them need is
// asked once.
type scene struct {
	phases.Reader
	kube      kube.Reader
	nodes     map[string]corev1.Node
	planes    []string // control-plane nodes
	workers   []string
	config    kube.ClusterConfiguration
	address   string // the first control-plane node's
	workloads []kube.Workload
	pods      []corev1.Pod

	mu     sync.Mutex
	unread map[string]string
}

func newScene(ctx context.Context, world *phases.Access) (*scene, error) {
	s := &scene{Reader: world.Reader(migrate.ClusterTarget), unread: map[string]string{}}
	s.address = s.First().Address
	var err error
	if s.kube, err = s.Kube(ctx); err != nil {
		return nil, err
	}
	err = parallel.Do(
		func() (err error) { s.nodes, err = s.kube.Nodes(ctx); return err },
		func() (err error) { s.config, err = s.kube.ClusterConfiguration(ctx); return err },
		func() (err error) { s.workloads, err = s.kube.Workloads(ctx); return err },
		func() (err error) { s.pods, err = s.kube.Pods(ctx, "", ""); return err },
		// A worker that the spec does not name is reached by what is found here.
		func() error { _, err := s.Workers(ctx); return err })
	if err != nil {
		return nil, err
	}
	for name, n := range s.nodes {
		if kube.IsControlPlane(n) {
			s.planes = append(s.planes, name)
		} else {
			s.workers = append(s.workers, name)
		}
	}
	slices.Sort(s.planes)
	slices.Sort(s.workers)
	return s, nil
}

// moved says whether the cluster's clients have been told of the endpoint; of
// any, where no spec names one.
func (s *scene) moved() bool {
	if s.Spec().Endpoint.Host == "" {
		return s.config.ControlPlaneEndpoint() != ""
	}
	return s.config.ControlPlaneEndpoint() == s.EndpointAddress()
}

// readable lists the nodes of the cluster that the spec, or the cluster, says
// how to reach.
func (s *scene) readable(ctx context.Context) []string {
	workers, err := s.Workers(ctx)
	if err != nil {
		workers = nil
	}
	var out []string
	for _, h := range append(append([]cluster.Host{s.First()}, s.Spec().ControlPlane.Joining...), workers...) {
		if _, is := s.nodes[h.Name]; is {
			out = append(out, h.Name)
		}
	}
	return out
}

// miss notes a host that was not read.
func (s *scene) miss(host string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread[host] = err.Error()
}

func (s *scene) unreadHosts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for host, why := range s.unread {
		out = append(out, host+": "+why)
	}
	slices.Sort(out)
	return out
}

// some tells of a number of hosts.
func some(hosts []string) string {
	if len(hosts) == 0 {
		return "none"
	}
	return strings.Join(hosts, ", ")
}

// state is Single for fewer than two.
func state(n int) State {
	if n < 2 {
		return Single
	}
	return Redundant
}
