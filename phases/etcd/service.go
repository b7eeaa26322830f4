package etcd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

func unitActive(ctx context.Context, v phases.View) (bool, error) {
	state, err := unitState(ctx, v)
	return state == "active", err
}

// unitState is systemd's word for it: "active", "activating", "inactive" …
func unitState(ctx context.Context, v phases.View) (string, error) {
	out, err := v.On(v.Target()).Look(ctx, remote.Command{Script: "systemctl is-active etcd.service || true"})
	if err != nil {
		return "", fmt.Errorf("asking systemd on %s for etcd.service: %w", v.Target(), err)
	}
	return strings.TrimSpace(out), nil
}

// lastWords is what etcd said last, for whoever has to find out why it does
// not answer.
func lastWords(ctx context.Context, v phases.View) error {
	out, err := v.On(v.Target()).Look(ctx, remote.Command{Script: "journalctl -q --no-pager -o cat -n 3 -u etcd.service | cut -c1-300"})
	if err != nil || strings.TrimSpace(out) == "" {
		return nil
	}
	return remote.Quoting(fmt.Errorf("etcd on %s said last: %s", v.Target(), remote.LastWords(out)))
}

// disableUnit keeps the member from starting with its host.
func disableUnit(ctx context.Context, h phases.Hands) error {
	return unitVerb(ctx, h, "disable", "enabled", "systemctl is-enabled etcd.service 2>/dev/null || true")
}

// stopUnit ends the member, and systemd's attempts to start one that ends.
func stopUnit(ctx context.Context, h phases.Hands) error {
	if err := disableUnit(ctx, h); err != nil {
		return err
	}
	return unitVerb(ctx, h, "stop", "active activating reloading deactivating", "systemctl is-active etcd.service || true")
}

// unitVerb does something to etcd.service on the target where its state is
// one of those, and wants another state then.
func unitVerb(ctx context.Context, h phases.Hands, verb, while, question string) error {
	host := h.On(h.Target())
	for _, again := range []bool{false, true} {
		out, err := host.Look(ctx, remote.Command{Script: question})
		if err != nil {
			return fmt.Errorf("asking systemd on %s for etcd.service: %w", h.Target(), err)
		}
		is := strings.TrimSpace(out)
		if !slices.Contains(strings.Fields(while), is) {
			return nil
		}
		if again {
			return fmt.Errorf("after `systemctl %s etcd.service` on %s it is still %s", verb, h.Target(), is)
		}
		if _, err := host.Run(ctx, remote.Cmd("systemctl", verb, "--quiet", "etcd.service")); err != nil {
			return fmt.Errorf("%s etcd.service on %s: %w", verb, h.Target(), err)
		}
	}
	return nil
}
