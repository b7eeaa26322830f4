package overlap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/redirect"
)

// temporary starts the temporary API server.
func (r Restart) temporary() phases.Step {
	return phases.Step{
		ID:    r.id("overlap-twin"),
		Title: "Start a second API server beside the real one",
		Why:   "It answers while the real one restarts, and shows first whether the new arguments work.",
		On:    migrate.FirstControlPlane,
		Needs: r.Needs,
		ByHand: "Copy kube-apiserver.yaml, outside the manifests folder, and change in the copy:\n\n" +
			"- pod and container name " + podName + ", label `component: " + podName + "`, no annotations, no CPU request where less than twice that is free on the node\n" +
			"- `--secure-port=6444`, the same port in the three probes and in `ports`\n" +
			"- `--endpoint-reconciler-type=none`, `--shutdown-delay-duration=15s`, `--goaway-chance=0.02`, `--etcd-servers={{.EtcdServers}}`\n" +
			"- `--feature-gates=APIServerIdentity=false,UnknownVersionInteroperabilityProxy=false` (added to those that are there)\n" +
			"- another file for `--audit-log-path`\n\n```\nmv $HOME/twin.yaml " + ManifestPath + "\ncurl -sk -o /dev/null -w '%{http_code}' https://{{.First.Address}}:6444/readyz    # 200\n```\n",
		Check: r.checkTemporary,
		Apply: r.applyTemporary,
		Verify: func(ctx context.Context, v phases.Reader) error {
			if err := temporaryHas(ctx, v, r.Flags(v)); err != nil {
				if is, lookErr := Redirected(ctx, v.On(v.Target())); lookErr != nil || !is {
					return errors.Join(err, lookErr)
				}
			}
			cfg, err := temporaryConfig(ctx, v)
			if err != nil {
				return err
			}
			// Not before status 200: a starting API server listens early and
			// may answer wrongly.
			return kube.Readyz(ctx, cfg)
		},
		Undo: undoTemporary, Group: r.StepGroup(),
		Settle: 4 * time.Minute, WaitsFor: "kubelet",
	}
}

// checkTemporary also says where an overlap is not possible.
func (r Restart) checkTemporary(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	f, err := r.setup(r.inPlace, "one API server runs")(ctx, v)
	if err != nil || f.Verdict != migrate.Needed {
		return f, err
	}
	block, err := noRoom(ctx, v)
	if err != nil || block.Verdict == migrate.Blocked {
		return block, err
	}
	return f, nil
}

// inPlace says whether there is nothing to do: it is ready and has the
// arguments, or clients are sent to it. One that carries clients since an undo
// of the restart was begun has the former arguments; the real one had these a
// moment ago, so they are proven.
func (r Restart) inPlace(ctx context.Context, v phases.Reader) (bool, error) {
	ready, err := temporaryReady(ctx, v)
	if err != nil || !ready {
		return false, err
	}
	if is, err := Redirected(ctx, v.On(v.Target())); err != nil || is {
		return is, err
	}
	return temporaryHas(ctx, v, r.Flags(v)) == nil, nil
}

// noRoom is a finding that blocks where the node has no room for it, and
// an empty one where it has.
func noRoom(ctx context.Context, v phases.Reader) (f migrate.Finding, err error) {
	const remedy = "free it, or restart the API server in place with `--strategy in-place`"
	r := v.On(v.Target())
	script := fmt.Sprintf(`ss -Hltn 'sport = :%d' | head -n 1; echo --; awk '/MemAvailable/ {print $2}' /proc/meminfo; ps -C kube-apiserver -o rss= | sort -n | tail -n 1`, Port)
	var tool, out string
	var there, runs bool
	var live remote.File
	err = parallel.Do(
		func() (err error) { tool, err = redirect.Tool(ctx, r); return err },
		func() (err error) {
			if out, err = r.Look(ctx, remote.Command{Script: script}); err != nil {
				err = fmt.Errorf("looking for room for a second API server on %s: %w", v.Target(), err)
			}
			return err
		},
		func() (err error) { there, err = temporaryThere(ctx, r); return err },
		func() (err error) { runs, err = temporaryRuns(ctx, v); return err },
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
		return phases.Block(remedy, "port %d of %s is taken", Port, v.Target()), nil
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

func (r Restart) applyTemporary(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	manifest, err := makeManifest(ctx, h.Reader, h.Target(), r.Flags(h.Reader))
	if err != nil {
		return err
	}
	return place(ctx, h, manifest)
}

// place writes the temporary API server's manifest. One that is there with other
// arguments has ended before, unless it carries clients: it would be taken for
// the new one for as long as it takes the kubelet to stop it.
func place(ctx context.Context, h phases.Writer, manifest []byte) error {
	host := h.On(h.Target())
	have, err := host.ReadFile(ctx, ManifestPath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && bytes.Equal(have.Data, manifest) {
		return nil
	}
	is, err := Redirected(ctx, host)
	if err != nil {
		return err
	}
	if !is {
		if err := undoTemporary(ctx, h, nil); err != nil {
			return fmt.Errorf("waiting for the end of the one of an attempt before: %w", err)
		}
	}
	return host.WriteFile(ctx, remote.File{Path: ManifestPath, Data: manifest, Mode: 0o600, Owner: "root:root"})
}

// undoTemporary waits for the end of the process: one that is on its way out
// still has the port and answers for a moment, which the next attempt would take
// for a new one.
func undoTemporary(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	host := h.On(h.Target())
	if is, err := Redirected(ctx, host); err != nil || is {
		return errors.Join(err, errors.New("connections are still redirected to the second API server"))
	}
	if err := stopTemporary(ctx, h); err != nil {
		return err
	}
	if err := host.Remove(ctx, ManifestPath); err != nil {
		return err
	}
	if err := awaitTemporaryEnd(ctx, h); err != nil {
		return err
	}
	return forgetCheck(ctx, h)
}

// forgetCheck deletes what a program left that was killed between writing
// through the temporary API server and taking it away again.
func forgetCheck(ctx context.Context, h phases.Writer) error {
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	return k.DeleteConfigMap(ctx, "kube-system", checkName)
}
