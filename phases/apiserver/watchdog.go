package apiserver

import (
	"context"
	"fmt"
	"net"
	"path"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// watchdog is a timer on the node itself: the operator's machine, or the way
// to it, may be what has failed.
const (
	watchdog        = "migrate-manifest-watchdog"
	watchdogSeconds = 420
)

// watchdogScript runs on the node when the timer is over. It asks the real
// API server at 127.0.0.1, which the redirect leaves alone, or at its
// --bind-address where it listens there only, and puts the old manifest back
// when that is not ready. kubectl or curl asks; with neither nothing can be
// known, and the manifest that worked is put back.
const watchdogScript = `ready() {
  if command -v kubectl >/dev/null; then kubectl --request-timeout 10s --kubeconfig /etc/kubernetes/admin.conf --server https://%[5]s --tls-server-name %[1]s get --raw /readyz >/dev/null 2>&1
  elif command -v curl >/dev/null; then case "$(curl -sk -m 10 -o /dev/null -w '%%{http_code}' https://%[5]s/readyz)" in 200|401|403) return 0;; *) return 1;; esac
  else return 1; fi
}
for i in 1 2 3; do
  if ready; then echo "migrate: the new API server is ready, nothing to do"; exit 0; fi
  sleep 5
done
echo "migrate: the new API server is not ready after %[4]d s, putting the old manifest back"
cp -p %[2]s %[3]s && mv %[3]s ` + phases.APIServerManifest

// ArmWatchdog starts the timer; backup is the manifest that worked. It is armed
// before the manifest is changed, and again by every attempt.
func ArmWatchdog(ctx context.Context, h phases.Writer, backup string) error {
	address, err := h.APIAddress(ctx, h.Target())
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	at, err := listens(ctx, h.Reader, h.Target())
	if err != nil {
		return err
	}
	r := h.On(h.Target())
	if err := DisarmWatchdog(ctx, r); err != nil {
		return err
	}
	beside := path.Join(kube.ManifestsDir, ".kube-apiserver.yaml.watchdog")
	script := fmt.Sprintf(watchdogScript, host, remote.Quote(backup), remote.Quote(beside), watchdogSeconds, net.JoinHostPort(at, port))
	c := remote.Program("systemd-run", "--quiet", "--unit="+watchdog, fmt.Sprintf("--on-active=%d", watchdogSeconds),
		"--timer-property=AccuracySec=1s", "--description=Put the old API server manifest back (migrate)", "/bin/sh", "-c", script)
	if _, err := r.Run(ctx, c); err != nil {
		return fmt.Errorf("arming the timer on %s: %w", h.Target(), err)
	}
	return nil
}

// DisarmWatchdog stops the timer; one that is not there is success.
func DisarmWatchdog(ctx context.Context, r remote.Host) error {
	script := "systemctl stop " + watchdog + ".timer 2>/dev/null || true; systemctl reset-failed " + watchdog + ".service 2>/dev/null || true"
	if _, err := r.Run(ctx, remote.Command{Script: script, Waits: true}); err != nil {
		return fmt.Errorf("disarming the timer on %s: %w", r.Name(), err)
	}
	is, err := WatchdogArmed(ctx, r)
	if err == nil && is {
		err = fmt.Errorf("disarming the timer on %s: it is still active", r.Name())
	}
	return err
}

// WatchdogArmed says whether the timer runs, or its script does.
func WatchdogArmed(ctx context.Context, r remote.Reader) (bool, error) {
	out, err := r.Look(ctx, remote.Command{Script: "systemctl is-active " + watchdog + ".timer " + watchdog + ".service || true", Waits: true})
	if err != nil {
		return false, fmt.Errorf("asking systemd on %s for the timer: %w", r.Name(), err)
	}
	for state := range strings.FieldsSeq(out) {
		if state == "active" || state == "activating" {
			return true, nil
		}
	}
	return false, nil
}

// RequireDisarmed is the error that a timer on the node may still put another
// manifest back: nothing that one needs may be removed before it is disarmed.
func RequireDisarmed(ctx context.Context, r remote.Reader) error {
	is, err := WatchdogArmed(ctx, r)
	if err == nil && is {
		err = fmt.Errorf("a timer on %s, %s, may still put the API server's manifest of a moment ago back", r.Name(), watchdog)
	}
	return err
}
