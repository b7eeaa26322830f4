package haproxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
	"hamigrate/phases/platform"
)

const installID = "loadbalancer/haproxy"

// haproxy makes sure that HAProxy is installed, and socat, which talks to its socket.
func haproxy() phases.Step {
	return phases.Step{
		ID:    installID,
		Title: "Install HAProxy and socat",
		Why:   "HAProxy asks the API servers whether they are ready; socat talks to its socket, so that one is switched without a reload.",
		On:    migrate.LoadBalancers,
		ByHand: "```\n" + software().ByHand() + "\n```\n\n" +
			"haproxy.service is not needed for the API: where HAProxy was not there before, `systemctl disable --now haproxy`.\n",
		Check:  checkHAProxy,
		Apply:  applyHAProxy,
		Verify: verifyHAProxy,
		OneWay: "an installed package harms nobody, and something else may use it by now",
		Settle: 30 * time.Second,
	}
}

// software is HAProxy with socat. The service that the package brings stays off where
// it was not there before: ours is another one.
func software() balancer.Software {
	return balancer.Software{Program: "haproxy", Whole: "haproxy and socat", Debian: []string{"haproxy", "socat"},
		Wanted: func(platform.Family) platform.Packages {
			return platform.Packages{Program: "haproxy", With: "socat", Fresh: "systemctl disable --quiet haproxy"}
		}}
}

func applyHAProxy(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	if err := software().Install(ctx, h); err != nil {
		return fmt.Errorf("installing HAProxy: %w", err)
	}
	return nil
}

func verifyHAProxy(ctx context.Context, v phases.Reader) error {
	f, err := checkHAProxy(ctx, v)
	if err == nil && f.Verdict != migrate.Satisfied {
		err = errors.New(f.Reason)
	}
	return err
}

func checkHAProxy(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	out, err := v.On(v.Target()).Look(ctx, remote.Command{Script: "if " + platform.InstallBegun("haproxy") + `; then echo begun; exit 0; fi
if [ -n "$(` + software().Half() + `)" ]; then echo half; exit 0; fi
command -v haproxy >/dev/null || { echo absent; exit 0; }
command -v socat >/dev/null || { echo no-socat; exit 0; }
echo there`})
	if err != nil {
		return migrate.Finding{}, fmt.Errorf("looking for HAProxy on %s: %w", v.Target(), err)
	}
	state := strings.TrimSpace(out)
	reason, known := map[string]string{
		"begun":    "an installation of HAProxy was begun and not ended",
		"half":     "HAProxy is installed in part: the package manager has not configured it",
		"absent":   "HAProxy is not installed",
		"no-socat": "HAProxy is installed, socat is not",
	}[state]
	if known {
		return phases.Need(migrate.Before{"haproxy": state}, "%s", reason), nil
	}
	return phases.Done("HAProxy and socat are installed"), nil
}
