package haproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
)

const frontendID = "loadbalancer/haproxy-frontend"

// haproxyFrontend makes HAProxy pass the endpoint's port through to the first API
// server.
func haproxyFrontend() phases.Step {
	return phases.Step{
		ID:    frontendID,
		Title: "Pass the API through HAProxy",
		Why:   "From here on the endpoint answers; nobody uses it yet.",
		On:    migrate.LoadBalancers,
		Needs: []migrate.StepID{installID},
		ByHand: "Write " + configFile + ":\n\n```\n{{template \"balancer-configuration\" .}}```\n\n" +
			"Write " + unitFile + ":\n\n```\n" + unitText + "```\n\n" +
			"```\nhaproxy -c -f " + configFile + " && systemctl daemon-reload && systemctl enable --now " + Unit + "\n" +
			"curl --cacert /etc/kubernetes/pki/ca.crt https://{{.Endpoint}}/readyz    # from every node\n```\n",
		Check:  checkFrontend,
		Apply:  applyFrontend,
		Verify: verifyFrontend,
		Undo:   undoFrontend,
		Settle: 30 * time.Second, WaitsFor: "HAProxy",
	}
}

// wanted is the configuration with all API servers of the spec, and those besides that
// are in the file. Those that are on stay on, and the first one is: phase 3 adds the
// others, and running phase 1 again must not take them out.
func wanted(ctx context.Context, v phases.Reader, now []Server) (Config, error) {
	c := Config{Port: v.Spec().Endpoint.Port}
	nodes := []string{v.First().Name}
	for _, h := range v.Spec().ControlPlane.Joining {
		nodes = append(nodes, h.Name)
	}
	for i, node := range nodes {
		address, err := v.APIAddress(ctx, node)
		if err != nil {
			return Config{}, err
		}
		c.Servers = append(c.Servers, Server{Name: node, Address: address, On: i == 0 || slices.Contains(on(now), address)})
	}
	for _, s := range now {
		if !slices.ContainsFunc(c.Servers, func(have Server) bool { return have.Address == s.Address || have.Name == s.Name }) {
			c.Servers = append(c.Servers, s)
		}
	}
	return c, nil
}

func checkFrontend(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	f, _, err := tryFrontend(ctx, v)
	return f, err
}

// tryFrontend is the check, and says whether HAProxy has judged the configuration, or
// has it already.
func tryFrontend(ctx context.Context, v phases.Reader) (f migrate.Finding, tried bool, err error) {
	r := v.On(v.Target())
	var h host
	var holder, active, enabled string
	err = parallel.Do(
		func() (err error) { h, err = look(ctx, r); return err },
		func() (err error) { holder, err = balancer.PortHolder(ctx, r, v.Spec().Endpoint.Port); return err },
		func() (err error) { active, enabled, err = balancer.ServiceState(ctx, r, Unit); return err })
	if err != nil {
		return migrate.Finding{}, false, err
	}
	c, err := wanted(ctx, v, h.servers)
	if err != nil {
		return migrate.Finding{}, false, err
	}
	port := v.Spec().Endpoint.Port
	written := h.file == c.Render() && h.unit == unitText
	nowPasses, _ := h.passes(c.Servers[0].Address)
	if written && h.current(c) && nowPasses && active == "active" && balancer.StartsAtBoot(enabled) {
		return phases.Done("HAProxy passes port %d through to %s", port, strings.Join(on(c.Servers), ", ")), true, nil
	}
	if holder != "" && !h.running.answers {
		if holder == "haproxy" {
			holder = "another HAProxy than the one of " + Unit
		}
		return phases.Block(fmt.Sprintf("free port %d there or choose another port for spec.endpoint; or, where your own load balancer there shall pass the API through, write `kind: external` into spec.loadBalancer", port),
			"port %d of %s is taken by %s", port, v.Target(), holder), false, nil
	}
	if tried = written; !written {
		says, ok, err := judge(ctx, r, c)
		if err != nil {
			return migrate.Finding{}, false, err
		}
		if says != "" {
			return phases.Block("install a HAProxy that takes it, 2.4 or newer", "%v", refusedError{r.Name(), says}), true, nil
		}
		tried = ok
	}
	f = phases.Need(migrate.Before{"file": configFile, "active": active, "enabled": enabled}, "HAProxy does not listen on port %d for the API", port)
	switch {
	case !written:
		if h.file != "" {
			f.Reason = "our files for HAProxy differ from what they should be"
		}
		f.Changes = []migrate.Change{{Object: v.Target() + ":" + configFile, Before: h.file, After: c.Render()}}
		if h.unit != unitText {
			f.Changes = append(f.Changes, migrate.Change{Object: v.Target() + ":" + unitFile, Before: h.unit, After: unitText})
		}
	case h.running.answers && !h.current(c):
		f.Reason = "HAProxy has not loaded our file"
	case h.running.answers && !nowPasses:
		f.Reason = fmt.Sprintf("HAProxy passes no new connection to %s", c.Servers[0].Address)
	case h.running.answers:
		f.Reason = fmt.Sprintf("HAProxy passes port %d through, and does not start at boot: its service is %s", port, enabled)
	}
	return f, tried, nil
}

func applyFrontend(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	now, err := look(ctx, h.On(h.Target()))
	if err != nil {
		return err
	}
	c, err := wanted(ctx, h.Reader, now.servers)
	if err != nil {
		return err
	}
	return configure(ctx, h.On(h.Target()), h.Reader, now, c)
}

// verifyFrontend goes to the API through this load balancer. Whether the endpoint
// leads there from every node is the next step's question: a name may still be on its
// way.
func verifyFrontend(ctx context.Context, v phases.Reader) error {
	f, err := checkFrontend(ctx, v)
	if err != nil {
		return err
	}
	if f.Verdict != migrate.Satisfied {
		return fmt.Errorf("on %s: %s", v.Target(), f.Reason)
	}
	roots, err := balancer.ClusterRoots(ctx, v)
	if err != nil {
		return err
	}
	return balancer.ThroughHost(ctx, v, v.Self(), roots)
}

// undoFrontend ends our service and takes its files away. The phase calls it when
// nobody follows the endpoint any more. HAProxy listens no more at once, and serves
// the connections that are open to their end.
func undoFrontend(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	to := h.On(h.Target())
	unit, err := readText(ctx, to, unitFile)
	if err != nil {
		return err
	}
	if unit != "" && unit != endingText() {
		if err := to.WriteFile(ctx, remote.File{Path: unitFile, Data: []byte(endingText()), Mode: 0o644}); err != nil {
			return err
		}
	}
	// A unit that is not there, or does not run, is what is wanted. A SIGUSR1 ends
	// HAProxy when its last connection has ended.
	script := "systemctl daemon-reload\nsystemctl disable --quiet " + Unit + " 2>/dev/null || true\n" +
		"if systemctl is-active --quiet " + Unit + "; then systemctl kill --kill-who=main --signal=USR1 " + Unit + "; fi"
	if _, err := to.Run(ctx, remote.Command{Script: script, Waits: true}); err != nil {
		return fmt.Errorf("ending HAProxy for the API on %s: %w", h.Target(), err)
	}
	err = phases.Await(ctx, h.Reader, listensWithin, func(ctx context.Context) error {
		now, err := askRunning(ctx, to)
		if err == nil && now.answers {
			var holder string
			if holder, err = balancer.PortHolder(ctx, to, h.Spec().Endpoint.Port); err == nil && holder == "haproxy" {
				err = errors.New("HAProxy still listens")
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("ending HAProxy for the API on %s: %w", h.Target(), err)
	}
	for _, file := range []string{unitFile, configFile} {
		if err := to.Remove(ctx, file); err != nil {
			return err
		}
	}
	if _, err := to.Run(ctx, remote.Program("systemctl", "daemon-reload")); err != nil {
		return fmt.Errorf("forgetting %s on %s: %w", Unit, h.Target(), err)
	}
	return nil
}
