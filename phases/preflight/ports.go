package preflight

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/overlap"
)

// way is a connection that a phase will need.
type way struct {
	from   string
	to     cluster.Host
	port   int
	phases []int
}

func (w way) address() string { return net.JoinHostPort(w.to.Address, strconv.Itoa(w.port)) }

const kubeletPort = 10250

// waysNeeded lists them for the hosts that answered.
func waysNeeded(ctx context.Context, s Scene) ([]way, error) {
	api, err := s.APIAddress(ctx, s.First().Name)
	if err != nil {
		return nil, err
	}
	_, text, err := net.SplitHostPort(api)
	if err != nil {
		return nil, err
	}
	apiPort, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's port: %w", err)
	}
	workers, err := s.Workers(ctx)
	if err != nil {
		return nil, err
	}
	spec := s.Spec()
	one, planes, balancers, members := spec.ControlPlane.First, spec.ControlPlane.Joining, spec.LoadBalancer.Hosts, spec.EtcdMembers()
	var out []way
	each := func(from, to []cluster.Host, port int, phases ...int) {
		for _, a := range from {
			for _, b := range to {
				if a.Name != b.Name {
					out = append(out, way{a.Name, b, port, phases})
				}
			}
		}
	}
	just := []cluster.Host{one}
	each(slices.Concat(just, workers), balancers, spec.Endpoint.Port, 1)
	each(balancers, just, apiPort, 1)
	each(just, members, etcdflags.EtcdClientPort, 2)
	each(slices.Concat(just, members), slices.Concat(just, members), etcdflags.EtcdPeerPort, 2)
	each(slices.Concat(balancers, workers), just, overlap.Port, 2)
	each(planes, balancers, spec.Endpoint.Port, 3)
	each(balancers, planes, apiPort, 3)
	each(planes, members, etcdflags.EtcdClientPort, 3)
	each(just, planes, kubeletPort, 3)
	each(planes, slices.Concat(just, workers), kubeletPort, 3)
	p := s.survey.options.Phase
	return slices.DeleteFunc(out, func(w way) bool {
		return s.Of(w.from) == nil || s.Of(w.to.Name) == nil || p != 0 && !slices.Contains(w.phases, p)
	}), nil
}

// ports connects along all ways. Where nothing listens yet, a listener is
// made for it, which takes a connection and says nothing: a port that refuses
// looks the same behind some firewalls.
func ports(ctx context.Context, s Scene, h phases.Writer) ([]Finding, error) {
	ways, err := waysNeeded(ctx, s)
	if err != nil {
		return nil, err
	}
	free := map[string][]string{} // addresses to listen on, by host
	for _, w := range ways {
		if !s.Of(w.to.Name).listens(w.to.Address, w.port) && !slices.Contains(free[w.to.Name], w.address()) {
			free[w.to.Name] = append(free[w.to.Name], w.address())
		}
	}
	unit := newListenUnit()
	untried := listenOn(ctx, h, unit, free)
	defer stopListening(ctx, h, unit, free)
	closed := connectAll(ctx, s, slices.DeleteFunc(slices.Clone(ways), func(w way) bool {
		return untried[w.to.Name] != nil && slices.Contains(free[w.to.Name], w.address())
	}))
	out := closed
	for _, f := range s.Answered() {
		var looksOnly *remote.LooksOnlyError
		if err := untried[f.host]; errors.As(err, &looksOnly) {
			out = append(out, notLooked(looksOnly).on(f.host))
		} else if err != nil {
			out = append(out, warn("see that "+strings.Join(free[f.host], ", ")+" can be reached from the others", "no listener could be made on it, and so nothing was tried: %v", err).on(f.host))
		}
	}
	if len(out) == 0 {
		out = append(out, fine("%d connections between %d hosts were made", len(ways), len(s.Answered())))
	}
	return out, nil
}

// connectAll tries the ways, a few at once from each host, and gathers those
// that are closed by where they lead to.
func connectAll(ctx context.Context, s Scene, ways []way) []Finding {
	errs := connectFromEach(ctx, s, ways)
	from, why := map[int][]string{}, map[int]error{}
	groups := map[string]int{} // an address and phases to the first way of them
	for i, w := range ways {
		if errs[i] == nil {
			continue
		}
		key := fmt.Sprint(w.address(), w.phases)
		if _, known := groups[key]; !known {
			groups[key], why[i] = i, errs[i]
		}
		from[groups[key]] = append(from[groups[key]], w.from)
	}
	var out []Finding
	for i, w := range ways {
		if len(from[i]) > 0 {
			slices.Sort(from[i])
			out = append(out, block(fmt.Sprintf("open TCP port %d of %s to %s, in the hosts' firewall and in the provider's", w.port, w.to.Name, strings.Join(from[i], ", ")),
				"%s is not reached from %s: %v", w.address(), strings.Join(from[i], ", "), why[i]).on(w.to.Name).only(w.phases...))
		}
	}
	return out
}

// connectFromEach tries the ways, from all hosts at the same time and a few at once
// from each. The errors are in the order of the ways.
func connectFromEach(ctx context.Context, s Scene, ways []way) []error {
	const dials = 8 // from one host at once
	from := map[string][]int{}
	for i, w := range ways {
		from[w.from] = append(from[w.from], i)
	}
	errs := make([]error, len(ways))
	_ = parallel.Each(slices.Collect(maps.Values(from)), func(_ int, mine []int) error {
		return parallel.Limited(dials, mine, func(_ int, i int) error {
			errs[i] = connect(ctx, s, ways[i])
			return nil
		})
	})
	return errs
}

func connect(ctx context.Context, s Scene, w way) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 4*time.Second, errors.New("no answer within 4 s"))
	defer cancel()
	conn, err := s.On(w.from).DialContext(ctx, "tcp", w.address())
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return conn.Close()
}

// listenUnits is how the names of the transient units that listen begin. Each
// run has its own: one of another run, or one that is going away, is not its to
// stop, and systemd makes no second unit of a name. systemd ends it after 25
// seconds, whatever becomes of this program.
const listenUnits = "migrate-preflight-"

func newListenUnit() string { return listenUnits + strings.ToLower(rand.Text()[:12]) }

// othersGone waits until no other run listens on the host: its listeners would
// be taken for programs, and what they have, this run can't. They end by
// themselves in less than that. systemd calls a unit that is being started or
// stopped neither active nor failed. The clock bounds it besides the number of
// tries: on a busy host systemctl takes seconds, and it may hang.
const othersGone = `n=0; end=$(($(date +%%s) + %d)); while [ "$n" -lt 140 ] && [ "$(date +%%s)" -lt "$end" ] && [ -n "$(timeout 5 systemctl list-units --all --plain --no-legend 'migrate-preflight-*' 2>/dev/null)" ]; do n=$((n+1)); sleep 0.2; done
`

// othersTime bounds that wait.
const othersTime = 26 * time.Second

func awaitOthers() string { return fmt.Sprintf(othersGone, int(othersTime.Seconds())) }

// listenScript starts the unit and waits until all ports are listened on.
func listenScript(unit string, addresses []string) string {
	var b strings.Builder
	b.WriteString(awaitOthers())
	b.WriteString("p=$(command -v systemd-socket-activate) || { echo 'systemd-socket-activate is not installed' >&2; exit 1; }\n")
	fmt.Fprintf(&b, "systemd-run --quiet --collect --unit=%s --property=RuntimeMaxSec=25 \"$p\" --accept", unit)
	for _, a := range addresses {
		b.WriteString(" -l " + remote.Quote(a))
	}
	b.WriteString(" /bin/true || exit 1\n")
	for _, a := range addresses {
		fmt.Fprintf(&b, "n=0; until ss -Hltn | grep -qF %s; do n=$((n+1)); [ $n -lt 50 ] || { echo 'it does not listen on %s' >&2; exit 1; }; sleep 0.1; done\n",
			remote.Quote(" "+a+" "), a)
	}
	return b.String()
}

// listenOn makes the listeners and says where that was not possible.
func listenOn(ctx context.Context, h phases.Writer, unit string, free map[string][]string) map[string]error {
	var mu sync.Mutex
	failed := map[string]error{}
	_ = parallel.Each(hostsOf(free), func(_ int, host string) error {
		if _, err := h.On(host).Run(ctx, remote.Command{Script: listenScript(unit, free[host]), Waits: true}); err != nil {
			mu.Lock()
			defer mu.Unlock()
			failed[host] = err
		}
		return nil
	})
	return failed
}

// stopListening also stops what was half made. What it cannot stop ends by
// itself.
func stopListening(ctx context.Context, h phases.Writer, unit string, free map[string][]string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = parallel.Each(hostsOf(free), func(_ int, host string) error {
		_, err := h.On(host).Run(ctx, remote.Command{Script: "systemctl stop " + unit + ".service 2>/dev/null || :", Waits: true})
		return err
	})
}

func hostsOf(free map[string][]string) []string {
	var out []string
	for host := range free {
		out = append(out, host)
	}
	return out
}
