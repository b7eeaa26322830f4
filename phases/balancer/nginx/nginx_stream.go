package nginx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
)

const nginxStreamID = "loadbalancer/nginx-stream"

// nginxStream makes nginx pass the endpoint's port through to the first API
// server.
func nginxStream() phases.Step {
	return phases.Step{
		ID:    nginxStreamID,
		Title: "Pass the API through nginx",
		Why:   "From here on the endpoint answers; nobody uses it yet.",
		On:    migrate.LoadBalancers,
		Needs: []migrate.StepID{"loadbalancer/nginx", workerConnectionsID},
		ByHand: "Write " + StreamFile + ":\n\n```\n{{template \"balancer-configuration\" .}}```\n\n" +
			"nginx takes one `stream` block. Where `nginx -T` shows one already, write what is inside of this one into a file that it includes.\n\n```\nnginx -t && systemctl enable nginx && systemctl reload-or-restart nginx\n" +
			"curl --cacert /etc/kubernetes/pki/ca.crt https://{{.Endpoint}}/readyz    # from every node\n```\n",
		Check: checkNginxStream,
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			host := h.On(h.Target())
			list, err := wantedBackends(ctx, h.Reader)
			if err != nil {
				return err
			}
			return Configure(ctx, host, h.Reader, list)
		},
		Verify: verifyNginxStream,
		Undo:   undoNginxStream,
		Settle: 30 * time.Second, WaitsFor: "nginx",
	}
}

// wantedBackends is what is there already and the first API server. Phase 3
// adds the others; running phase 1 again must not take them out.
func wantedBackends(ctx context.Context, v phases.Reader) ([]string, error) {
	first, err := v.APIAddress(ctx, v.First().Name)
	if err != nil {
		return nil, err
	}
	list, err := PresentBackends(ctx, v.On(v.Target()), v)
	if err != nil {
		return nil, err
	}
	return WithBackend(list, first), nil
}

func checkNginxStream(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	f, _, err := tryNginxStream(ctx, v)
	return f, err
}

// tryNginxStream is the check, and says whether nginx has judged the new
// configuration, or has it already.
func tryNginxStream(ctx context.Context, v phases.Reader) (f migrate.Finding, tried bool, err error) {
	r := v.On(v.Target())
	port := v.Spec().Endpoint.Port
	l, err := findLayout(ctx, r, port)
	var block streamBlockError
	var refused refusedError
	switch {
	case errors.As(err, &block):
		return phases.Block(block.remedy(), "%s: %v", v.Target(), block), false, nil
	case errors.As(err, &refused):
		return phases.Block("fix what it names: `nginx -t`", "%v", refused), false, nil
	case errors.Is(err, fs.ErrNotExist):
		before := migrate.Before{"file": "absent"}
		return phases.Need(before, "nginx is not configured yet"), false, nil
	case err != nil:
		return migrate.Finding{}, false, err
	}
	var first, holder, active, enabled string
	var list []string
	var loaded bool
	err = parallel.Do(
		func() (err error) { _, list, err = present(ctx, r, l); return err },
		func() (err error) { first, err = v.APIAddress(ctx, v.First().Name); return err },
		func() (err error) { holder, err = balancer.PortHolder(ctx, r, port); return err },
		func() (err error) { loaded, err = l.loaded(ctx, r); return err },
		func() (err error) { active, enabled, err = serviceState(ctx, r); return err })
	if err != nil {
		return migrate.Finding{}, false, err
	}
	w, err := plan(ctx, r, v, l, WithBackend(list, first))
	if err != nil {
		return migrate.Finding{}, false, err
	}
	configured := !w.differs && holder == "nginx"
	if configured && loaded && balancer.StartsAtBoot(enabled) {
		return phases.Done("nginx passes port %d through to %s", port, strings.Join(WithBackend(list, first), ", ")), true, nil
	}
	if blocked, is := portTaken(v, l, holder, w.before); is && !configured {
		return blocked, false, nil
	}
	if tried = configured; !configured && l.module {
		err := tryOut(ctx, r, w.files()...)
		if errors.As(err, &refused) {
			return phases.Block("change what it names; or keep nginx as your own, pass the endpoint through there, and write `kind: external` into spec.loadBalancer", "%v", refused), true, nil
		}
		if tried = err == nil; err != nil && !errors.Is(err, errNoScratch) {
			return migrate.Finding{}, false, err
		}
	}
	before := migrate.Before{"file": l.file, "content": w.before, "active": active, "enabled": enabled}
	f = phases.Need(before, "nginx does not listen on port %d", port)
	switch {
	case configured && !loaded:
		f.Reason = "nginx has not loaded our file"
	case configured:
		f.Reason = fmt.Sprintf("nginx passes port %d through, and does not start at boot: its service is %s", port, enabled)
	default:
		if w.before != "" {
			f.Reason = "our file for nginx differs from what it should be"
		}
		f.Changes = w.changes(v.Target())
	}
	return f, tried, nil
}

// portTaken is the finding that somebody else has the endpoint's port.
func portTaken(v phases.Reader, l layout, holder, before string) (migrate.Finding, bool) {
	port := v.Spec().Endpoint.Port
	free := fmt.Sprintf("free port %d there or choose another port for spec.endpoint", port)
	switch {
	case l.holds != "":
		return phases.Block(fmt.Sprintf("take the `listen` at %s away, or choose another port for spec.endpoint; or, where nginx shall pass the API through by your own configuration, write `kind: external` into spec.loadBalancer", l.holds),
			"port %d of %s is nginx's already: its own configuration listens there at %s", port, v.Target(), l.holds), true
	case holder == "nginx" && before == "":
		return phases.Block("load the configuration that is on the disk: `nginx -t && systemctl reload nginx`",
			"port %d of %s is taken by nginx, which has loaded a configuration that is on the disk no more", port, v.Target()), true
	case holder != "" && holder != "nginx":
		return phases.Block(free, "port %d of %s is taken by %s", port, v.Target(), holder), true
	}
	return migrate.Finding{}, false
}

// changes are the plan's. Of nginx.conf only the new lines are shown: the rest
// may hold secrets, and is none of the plan's.
func (w written) changes(host string) []migrate.Change {
	var out []migrate.Change
	if w.edited {
		var lines string
		for _, line := range []string{w.load, w.include} {
			if line != "" {
				lines += line + "\n"
			}
		}
		out = append(out, migrate.Change{Object: host + ":" + nginxConf, After: lines})
	}
	return append(out, migrate.Change{Object: host + ":" + w.file, Before: w.before, After: string(w.own.Data)})
}

// verifyNginxStream goes to the API through this load balancer. Whether the
// endpoint leads there from every node is the next step's question: a name may
// still be on its way.
func verifyNginxStream(ctx context.Context, v phases.Reader) error {
	r := v.On(v.Target())
	l, err := findLayout(ctx, r, v.Spec().Endpoint.Port)
	if err != nil {
		return err
	}
	loaded, err := l.loaded(ctx, r)
	if err != nil {
		return err
	}
	if !loaded {
		return fmt.Errorf("nginx on %s has not loaded our file", v.Target())
	}
	_, enabled, err := serviceState(ctx, r)
	if err != nil {
		return err
	}
	if !balancer.StartsAtBoot(enabled) {
		return fmt.Errorf("nginx on %s does not start at boot: its service is %s", v.Target(), enabled)
	}
	holder, err := balancer.PortHolder(ctx, r, v.Spec().Endpoint.Port)
	if err != nil {
		return err
	}
	if holder != "nginx" {
		return fmt.Errorf("nginx on %s does not listen on port %d", v.Target(), v.Spec().Endpoint.Port)
	}
	roots, err := balancer.ClusterRoots(ctx, v)
	if err != nil {
		return err
	}
	return balancer.ThroughHost(ctx, v, v.Self(), roots)
}

// undoNginxStream takes our file away, or brings back what stood in its
// place. The phase calls it when nobody follows the endpoint any more.
// Connections that are open stay: a reload lets the old workers serve theirs to
// the end.
func undoNginxStream(ctx context.Context, h phases.Writer, before migrate.Before) error {
	host := h.On(h.Target())
	l, err := findLayout(ctx, host, h.Spec().Endpoint.Port)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nginx itself is gone
	}
	if err != nil {
		return fmt.Errorf("reading the configuration of nginx on %s: %w", h.Target(), err)
	}
	if file := before["file"]; path.IsAbs(file) {
		l.file = file
	}
	changed, err := fileBack(ctx, host, l, before["content"])
	if err != nil {
		return err
	}
	holder, err := balancer.PortHolder(ctx, host, h.Spec().Endpoint.Port)
	if err != nil {
		return err
	}
	// A run that was killed may have changed the files and no more.
	if changed || holder == "nginx" {
		if _, err := host.Run(ctx, remote.Command{Script: reloadActive, Waits: true}); err != nil {
			return fmt.Errorf("loading the previous configuration of nginx on %s: %w", h.Target(), err)
		}
	}
	if err := serviceBack(ctx, host, before); err != nil {
		return err
	}
	return host.Remove(ctx, path.Join(hostfiles.BackupDir(nginxStreamID), nginxConf))
}
