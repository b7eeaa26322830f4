package balancer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// What follows is the same for all kinds that have hosts of their own.

// CheckHosts wants an answer of the cluster's API server through each host, by
// its own address: what the endpoint's name means is asked later.
func CheckHosts(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	if err := ThroughHosts(ctx, v); err != nil {
		return phases.Need(migrate.Before{}, "it does not lead there yet: %v", err), nil
	}
	return phases.Done("the API answers through each host of the load balancer"), nil
}

// ReachedFromHosts goes from each host to the API server of the target.
func ReachedFromHosts(ctx context.Context, v phases.Reader) error {
	address, err := v.APIAddress(ctx, v.Target())
	if err != nil {
		return err
	}
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		if _, err := kube.ServedCertificate(ctx, v.On(lb.Name).DialContext, address, nil); err != nil {
			return fmt.Errorf("reaching the API server of %s from %s: %w", v.Target(), lb.Name, err)
		}
	}
	return nil
}

// BegunOn says whether any host may have our configuration: one that has says so
// itself, and one that does not answer may.
func BegunOn(ctx context.Context, v phases.Reader, has func(context.Context, remote.Reader) (bool, error)) (bool, error) {
	hosts := v.Spec().LoadBalancer.Hosts
	have := make([]bool, len(hosts))
	err := parallel.Each(hosts, func(i int, lb cluster.Host) (err error) {
		have[i], err = has(ctx, v.On(lb.Name))
		if err != nil && ctx.Err() == nil {
			have[i], err = true, nil
		}
		return err
	})
	return slices.Contains(have, true), err
}

// SomeoneAnswers wants one of these API servers to answer on a host's way to it.
func SomeoneAnswers(ctx context.Context, lb remote.Reader, backends []string) error {
	err := errors.New("there is no other one")
	for _, b := range backends {
		if _, err = kube.ServedCertificate(ctx, lb.DialContext, b, nil); err == nil {
			return nil
		}
	}
	return err
}

// EveryoneAnswers wants all of these API servers, and one at least.
func EveryoneAnswers(ctx context.Context, lb remote.Reader, backends []string) error {
	if len(backends) == 0 {
		return errors.New("there is no other one")
	}
	for _, b := range backends {
		if _, err := kube.ServedCertificate(ctx, lb.DialContext, b, nil); err != nil {
			return err
		}
	}
	return nil
}

// PortHolder names the program that listens on a port of a host, "" for none.
func PortHolder(ctx context.Context, r remote.Reader, port int) (string, error) {
	script := fmt.Sprintf(`ss -Hltnp '( sport = :%d )' | sed -n 's/.*users:(("\([^"]*\)".*/\1/p' | head -n 1`, port)
	out, err := r.Look(ctx, remote.Command{Script: script})
	if err != nil {
		return "", fmt.Errorf("looking for who listens on port %d of %s: %w", port, r.Name(), err)
	}
	return strings.TrimSpace(out), nil
}

// ServiceState says whether a unit runs, and whether it starts at boot.
func ServiceState(ctx context.Context, r remote.Reader, unit string) (active, enabled string, err error) {
	unit = remote.Quote(unit)
	out, err := r.Look(ctx, remote.Command{Script: "systemctl is-active " + unit + " || true; systemctl is-enabled " + unit + " 2>/dev/null || true", Waits: true})
	if err != nil {
		return "", "", fmt.Errorf("asking whether %s on %s runs: %w", unit, r.Name(), err)
	}
	active, enabled, _ = strings.Cut(strings.TrimSpace(out), "\n")
	return active, enabled, nil
}

// StartsAtBoot reads what `systemctl is-enabled` says. A unit that can't be
// enabled, as one which another starts, is left as somebody has made it.
func StartsAtBoot(enabled string) bool {
	return slices.Contains([]string{"enabled", "alias", "static", "indirect", "generated"}, enabled)
}

// Warn is a finding that does not stop anything.
func Warn(remedy, format string, args ...any) Finding {
	return Finding{Seen: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Stop is a finding that stops the change.
func Stop(remedy, format string, args ...any) Finding {
	return Finding{Blocks: true, Seen: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Fine is the outlook of a change that nothing is known to stop.
func Fine(format string, args ...any) Outlook { return Outlook{Fine: fmt.Sprintf(format, args...)} }
