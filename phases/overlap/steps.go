package overlap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
	"hamigrate/phases/redirect"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Before are the steps that come before the restart.
func (r Restart) Before() []phases.Step { return []phases.Step{r.twin(), r.standIn(), r.redirect()} }

// After are the steps that come after it; needs names it.
func (r Restart) After(needs migrate.StepID) []phases.Step {
	return []phases.Step{r.removeRedirect(needs), r.removeTwin()}
}

// applyRedirect proves the twin first and takes the redirect away again when
// not every path ends at the twin: behind it clients would fail.
func applyRedirect(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	cfg, err := twinConfig(ctx, h.View, h.Target())
	if err != nil {
		return err
	}
	if err := kube.WriteAndRead(ctx, cfg, checkName); err != nil {
		return err
	}
	if err := twinReachable(ctx, h.View, h.Target()); err != nil {
		return err
	}
	to, err := apiserver.FrontOf(ctx, h.View, h.Target())
	if err != nil {
		return err
	}
	host := h.On(h.Target())
	if err := addRedirect(ctx, host, to); err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		last = twinAnswers(ctx, h.View, h.Target(), true)
		return last == nil, nil
	})
	if err != nil {
		err = errors.Join(last, err)
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return errors.Join(fmt.Errorf("the redirect does not lead to the second API server on every path, and is taken away again: %w", err), table().Remove(undo, host))
	}
	return nil
}

// Ready is asked in the moment before the real API server is changed: the
// twin answers on every path, and the kubernetes endpoints stay filled for
// long enough.
func Ready(ctx context.Context, h phases.Hands) error {
	if err := twinAnswers(ctx, h.View, h.Target(), true); err != nil {
		return err
	}
	return fillEndpoints(ctx, h)
}

// fillEndpoints writes the stand-in lease, anew if it is there.
func fillEndpoints(ctx context.Context, h phases.Hands) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	value, there, err := e.Get(ctx, leaseKey(h.First().Address))
	if err != nil {
		return err
	}
	if !there {
		// The real one is stopped already; the stand-in holds the same bytes.
		value, there, err = e.Get(ctx, standInKey)
	}
	if err != nil || !there {
		return errors.Join(err, fmt.Errorf("the API server of %s holds no lease for the kubernetes endpoints", h.First().Name))
	}
	return e.PutFor(ctx, standInKey, value, standInTTL)
}

// setup makes the check of a step that prepares the overlap: nothing to do
// where the restart is done.
func (r Restart) setup(there func(context.Context, phases.View) (bool, error), missing string) func(context.Context, phases.View) (migrate.Finding, error) {
	return func(ctx context.Context, v phases.View) (migrate.Finding, error) {
		done, err := r.Done(ctx, v)
		if err != nil {
			return migrate.Finding{}, err
		}
		if done {
			return phases.Done("the API server runs as wanted: there is nothing to overlap"), nil
		}
		ok, err := there(ctx, v)
		if err != nil {
			return migrate.Finding{}, err
		}
		if ok {
			return phases.Done("it is in place"), nil
		}
		return phases.Need(migrate.Before{"state": "absent"}, "%s", missing), nil
	}
}

func (r Restart) twin() phases.Step {
	return phases.Step{
		ID:    r.id("overlap-twin"),
		Title: "Start a second API server beside the real one",
		Why:   "It answers while the real one restarts, and shows first whether the new arguments work.",
		On:    migrate.FirstControlPlane,
		Needs: r.Needs,
		ByHand: "Copy kube-apiserver.yaml, outside the manifests folder, and change in the copy:\n\n" +
			"- pod and container name " + twinName + ", label `component: " + twinName + "`, no annotations, no CPU request where less than twice that is free on the node\n" +
			"- `--secure-port=6444`, the same port in the three probes and in `ports`\n" +
			"- `--endpoint-reconciler-type=none`, `--shutdown-delay-duration=15s`, `--goaway-chance=0.02`, `--etcd-servers={{.EtcdServers}}`\n" +
			"- `--feature-gates=APIServerIdentity=false,UnknownVersionInteroperabilityProxy=false` (added to those that are there)\n" +
			"- another file for `--audit-log-path`\n\n```\nmv $HOME/twin.yaml " + TwinManifest + "\ncurl -sk -o /dev/null -w '%{http_code}' https://{{.First.Address}}:6444/readyz    # 200\n```\n",
		Check: r.checkTwin,
		Apply: r.applyTwin,
		Verify: func(ctx context.Context, v phases.View) error {
			if err := twinHas(ctx, v, r.Flags(v)); err != nil {
				if is, lookErr := Redirected(ctx, v.On(v.Target())); lookErr != nil || !is {
					return errors.Join(err, lookErr)
				}
			}
			cfg, err := twinConfig(ctx, v, v.Target())
			if err != nil {
				return err
			}
			// Not before status 200: a starting API server listens early and
			// may answer wrongly.
			return kube.Readyz(ctx, cfg)
		},
		Undo: undoTwin, Bracket: r.Bracket(),
		Settle: 4 * time.Minute, WaitsFor: "kubelet",
	}
}

func (r Restart) applyTwin(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	twin, err := makeTwin(ctx, h.View, h.Target(), r.Flags(h.View))
	if err != nil {
		return err
	}
	return placeTwin(ctx, h, twin)
}

// placeTwin writes the twin's manifest. One that is there with other arguments
// has ended before, unless it carries clients: it would be taken for the new
// one for as long as it takes the kubelet to stop it.
func placeTwin(ctx context.Context, h phases.Hands, twin []byte) error {
	host := h.On(h.Target())
	have, err := host.ReadFile(ctx, TwinManifest)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && bytes.Equal(have.Data, twin) {
		return nil
	}
	is, err := Redirected(ctx, host)
	if err != nil {
		return err
	}
	if !is {
		if err := undoTwin(ctx, h, nil); err != nil {
			return fmt.Errorf("waiting for the end of the one of an attempt before: %w", err)
		}
	}
	return host.WriteFile(ctx, remote.File{Path: TwinManifest, Data: twin, Mode: 0o600, Owner: "root:root"})
}

// twinInPlace says whether there is nothing to do for the twin: it is ready
// and has the arguments, or clients are sent to it. One that carries clients
// since a way back was begun has the former arguments; the real one had these
// a moment ago, so they are proven.
func (r Restart) twinInPlace(ctx context.Context, v phases.View) (bool, error) {
	ready, err := twinReady(ctx, v, v.Target())
	if err != nil || !ready {
		return false, err
	}
	if is, err := Redirected(ctx, v.On(v.Target())); err != nil || is {
		return is, err
	}
	return twinHas(ctx, v, r.Flags(v)) == nil, nil
}

// checkTwin also says where an overlap is not possible.
func (r Restart) checkTwin(ctx context.Context, v phases.View) (migrate.Finding, error) {
	f, err := r.setup(r.twinInPlace, "one API server runs")(ctx, v)
	if err != nil || f.Verdict != migrate.Needed {
		return f, err
	}
	block, err := noRoom(ctx, v)
	if err != nil || block.Verdict == migrate.Blocked {
		return block, err
	}
	return f, nil
}

// noRoom is a finding that blocks where the node has no room for a twin, and
// an empty one where it has.
func noRoom(ctx context.Context, v phases.View) (f migrate.Finding, err error) {
	const remedy = "free it, or restart the API server in place with `--strategy in-place`"
	r := v.On(v.Target())
	script := fmt.Sprintf(`ss -Hltn 'sport = :%d' | head -n 1; echo --; awk '/MemAvailable/ {print $2}' /proc/meminfo; ps -C kube-apiserver -o rss= | sort -n | tail -n 1`, TwinPort)
	var tool, out string
	var there, runs bool
	var live remote.File
	err = phases.SideBySide(
		func() (err error) { tool, err = redirect.Tool(ctx, r); return err },
		func() (err error) {
			if out, err = r.Look(ctx, remote.Command{Script: script}); err != nil {
				err = fmt.Errorf("looking for room for a second API server on %s: %w", v.Target(), err)
			}
			return err
		},
		func() (err error) { there, err = twinThere(ctx, r); return err },
		func() (err error) { runs, err = twinRuns(ctx, v); return err },
		func() (err error) { live, err = r.ReadFile(ctx, phases.APIServerManifest); return err })
	if err != nil {
		return f, err
	}
	if tool == "" {
		return phases.Block("install nft or iptables, or restart the API server in place with `--strategy in-place`", "%s has neither nft nor iptables", v.Target()), nil
	}
	listener, memory, _ := strings.Cut(out, "--\n")
	if there || runs {
		return f, nil // it is starting or ending: an attempt before was cut
	}
	if strings.TrimSpace(listener) != "" {
		return phases.Block(remedy, "port %d of %s is taken", TwinPort, v.Target()), nil
	}
	var available, used int
	if _, err := fmt.Sscan(memory, &available, &used); err != nil {
		return f, fmt.Errorf("reading the memory of %s: %w", v.Target(), err)
	}
	m, err := kube.ParseManifest(live.Data)
	if err != nil {
		return f, err
	}
	if bind, _ := m.Flags().Get("bind-address"); !m.Flags().ListensEverywhere() {
		return phases.Block("restart the API server in place with `--strategy in-place`", "the API server listens on --bind-address=%s only, not on 127.0.0.1 as well", bind), nil
	}
	if available < used+used/2 {
		return phases.Block(remedy, "%s has %d MiB of memory left and its API server uses %d MiB", v.Target(), available/1024, used/1024), nil
	}
	return f, nil
}

// standInTTL outlives the timer on the node and the restart after it, should
// the operator's machine vanish.
const standInTTL = 20 * time.Minute

func (r Restart) standIn() phases.Step {
	return phases.Step{
		ID:    r.id("overlap-endpoints"),
		Title: "Keep the kubernetes endpoints filled",
		Why:   "A last API server that stops takes its address out of the kubernetes Service, and every other node then refuses connections to it.",
		On:    migrate.Once,
		Needs: []migrate.StepID{r.id("overlap-twin")},
		ByHand: "```\nLEASE=$($ETCDCTL lease grant 1200 | cut -d' ' -f2)\n" +
			"$ETCDCTL get /registry/masterleases/{{.First.Address}} --print-value-only | head -c -1 > $HOME/lease\n" +
			"$ETCDCTL put --lease=$LEASE " + standInKey + " < $HOME/lease\n```\n",
		Check: r.setup(func(ctx context.Context, v phases.View) (bool, error) {
			e, err := v.Etcd(ctx)
			if err != nil {
				return false, err
			}
			_, there, err := e.Get(ctx, standInKey)
			return there, err
		}, "the endpoints depend on the real API server's lease alone"),
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error { return fillEndpoints(ctx, h) },
		Verify: func(ctx context.Context, v phases.View) error {
			e, err := v.Etcd(ctx)
			if err != nil {
				return err
			}
			if _, there, err := e.Get(ctx, standInKey); err != nil || !there {
				return errors.Join(err, errors.New("the second lease is not there"))
			}
			return nil
		},
		Undo: undoStandIn, Bracket: r.Bracket(),
		Settle: 20 * time.Second,
	}
}

// The leases' keys; the API server reads the addresses from their values
// (pkg/controlplane/reconcilers/lease.go: ListLeases), so the stand-in's own
// name can be nobody's address.
const (
	leases     = "/registry/masterleases/"
	standInKey = leases + "migrate-stand-in"
)

func leaseKey(address string) string { return leases + address }

func (r Restart) redirect() phases.Step {
	return phases.Step{
		ID:     r.RedirectID(),
		Title:  "Send new connections to the second API server",
		Why:    "From here on the real one may stop and nobody notices.",
		On:     migrate.FirstControlPlane,
		Needs:  []migrate.StepID{r.id("overlap-twin"), r.id("overlap-endpoints")},
		ByHand: redirectByHand(),
		Check: r.setup(func(ctx context.Context, v phases.View) (bool, error) { return Redirected(ctx, v.On(v.Target())) },
			"connections go to the real API server"),
		Apply:  applyRedirect,
		Verify: func(ctx context.Context, v phases.View) error { return twinAnswers(ctx, v, v.Target(), true) },
		Undo:   undoRedirect,
		Settle: time.Minute, Bracket: r.Bracket(),
	}
}
