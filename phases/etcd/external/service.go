package external

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hamigrate/migrate/process"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

func unitActive(ctx context.Context, v phases.Reader) (bool, error) {
	state, err := unitState(ctx, v)
	return state == "active", err
}

// unitState is systemd's word for it: "active", "activating", "inactive" …
func unitState(ctx context.Context, v phases.Reader) (string, error) {
	return stateOn(ctx, v, v.Target())
}

// stateOn is unitState of a host.
func stateOn(ctx context.Context, v phases.Reader, host string) (string, error) {
	out, err := v.On(host).Look(ctx, remote.Command{Script: "systemctl is-active etcd.service || true", Waits: true})
	if err != nil {
		return "", fmt.Errorf("asking systemd on %s for etcd.service: %w", host, err)
	}
	return strings.TrimSpace(out), nil
}

// lastWords is what etcd said last, for whoever has to find out why it does
// not answer.
func lastWords(ctx context.Context, v phases.Reader) error {
	out, err := v.On(v.Target()).Look(ctx, remote.Command{Script: "journalctl -q --no-pager -o cat -n 3 -u etcd.service | cut -c1-300"})
	if err != nil || strings.TrimSpace(out) == "" {
		return nil
	}
	return remote.Quoting(fmt.Errorf("etcd on %s said last: %s", v.Target(), remote.LastWords(out)))
}

// disableUnit keeps the member from starting with its host.
func disableUnit(ctx context.Context, h phases.Writer) error {
	return unitVerb(ctx, h, "disable", "enabled", "systemctl is-enabled etcd.service 2>/dev/null || true")
}

// stopUnit ends the member, and systemd's attempts to start one that ends.
func stopUnit(ctx context.Context, h phases.Writer) error {
	if err := disableUnit(ctx, h); err != nil {
		return err
	}
	return unitVerb(ctx, h, "stop", "active activating reloading deactivating", "systemctl is-active etcd.service || true")
}

// unitVerb does something to etcd.service on the target where its state is
// one of those, and wants another state then.
func unitVerb(ctx context.Context, h phases.Writer, verb, while, question string) error {
	host := h.On(h.Target())
	for _, again := range []bool{false, true} {
		out, err := host.Look(ctx, remote.Command{Script: question, Waits: true})
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
		if _, err := host.Run(ctx, remote.Program("systemctl", verb, "--quiet", "etcd.service")); err != nil {
			return fmt.Errorf("%s etcd.service on %s: %w", verb, h.Target(), err)
		}
	}
	return nil
}

// Serves wants etcd.service to be enabled and active.
func (Topology) Serves(ctx context.Context, v phases.Reader) (says string, ok bool, err error) {
	out, err := v.On(v.Target()).Look(ctx, remote.Command{Script: "systemctl is-enabled etcd.service || true; systemctl is-active etcd.service || true", Waits: true})
	if err != nil {
		return "", false, fmt.Errorf("asking systemd on %s for etcd: %w", v.Target(), err)
	}
	words := strings.Fields(out)
	if !slices.Equal(words, []string{"enabled", "active"}) {
		return "etcd.service is " + strings.Join(words, " and "), false, nil
	}
	return "enabled and active", true, nil
}

// State is systemd's word for etcd.service.
func (Topology) State(ctx context.Context, v phases.Reader, host string) (string, error) {
	return stateOn(ctx, v, host)
}

// Version asks the program that the unit starts.
func (Topology) Version(ctx context.Context, v phases.Reader, host string) (version, missing string, err error) {
	out, err := v.On(host).Look(ctx, remote.Command{Script: "if [ -e /etc/systemd/system/etcd.service ] && [ -x " + Binary + " ]; then " + Binary + " --version; fi", Waits: true})
	if err != nil {
		return "", "", fmt.Errorf("asking %s for its etcd: %w", host, err)
	}
	version, ok := strings.CutPrefix(strings.SplitN(out, "\n", 2)[0], "etcd Version: ")
	if !ok {
		return "", "etcd.service or no " + Binary, nil
	}
	return strings.TrimSpace(version), "", nil
}

// Stop disables it first: its host may be rebooted meanwhile.
func (Topology) Stop(ctx context.Context, h phases.Writer) error {
	script := "set -e; systemctl disable --quiet etcd.service; systemctl stop etcd.service"
	if _, err := h.On(h.Target()).Run(ctx, remote.Command{Script: script, Waits: true}); err != nil {
		return fmt.Errorf("stopping etcd on %s: %w", h.Target(), err)
	}
	return nil
}

// Stopped wants etcd.service to be stopped and disabled, and no process on the
// member's data.
func (Topology) Stopped(ctx context.Context, v phases.Reader) error {
	r := v.On(v.Target())
	out, err := r.Look(ctx, remote.Command{Script: "systemctl is-active etcd.service || true; systemctl is-enabled etcd.service || true", Waits: true})
	if err != nil {
		return fmt.Errorf("asking systemd on %s for etcd.service: %w", v.Target(), err)
	}
	words := strings.Fields(out)
	if len(words) != 2 || words[0] != "inactive" && words[0] != "failed" || words[1] != "disabled" {
		return fmt.Errorf("etcd.service on %s is %s", v.Target(), strings.Join(words, " and "))
	}
	list, err := process.Find(ctx, r, "etcd")
	if err != nil {
		return err
	}
	for _, p := range list {
		if dir, _ := p.Flags.Get("data-dir"); dir == DataDir {
			return fmt.Errorf("etcd still runs on %s, as process %d", v.Target(), p.PID)
		}
	}
	return nil
}

// Start does not wait (--no-block): with Type=notify a start lasts until there
// is a quorum.
func (Topology) Start(ctx context.Context, h phases.Writer, host, initialCluster string) error {
	on := h.On(host)
	if err := on.WriteFile(ctx, remote.File{Path: EnvFile, Data: []byte(environmentOf(initialCluster)), Mode: 0o640, Owner: "root:etcd"}); err != nil {
		return err
	}
	script := "set -e; systemctl enable --quiet etcd.service; systemctl start --no-block etcd.service"
	if _, err := on.Run(ctx, remote.Command{Script: script, Waits: true}); err != nil {
		return fmt.Errorf("starting etcd on %s: %w", host, err)
	}
	return nil
}
