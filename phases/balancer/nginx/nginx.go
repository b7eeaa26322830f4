package nginx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// nginx makes sure that nginx with its stream module is installed. What it
// serves already is not touched.
func nginx() phases.Step {
	return phases.Step{
		ID:    "loadbalancer/nginx",
		Title: "Install nginx with its stream module",
		Why:   "The API is passed through as a TCP stream: ending TLS at the load balancer would break client certificates.",
		On:    migrate.LoadBalancers,
		ByHand: "```\napt-get install -y nginx libnginx-mod-stream    # or: dnf install -y nginx nginx-mod-stream\n```\n\n" +
			"Where port 80 is taken or there is no IPv6, Debian's package fails when it starts nginx with its default site. Then: `rm /etc/nginx/sites-enabled/default`, and `apt-get install -f`. " +
			"With dnf nginx is not started, and there take the `server { }` out of /etc/nginx/nginx.conf before it is.\n",
		Check: checkNginx,
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			// An installed nginx that is stopped stays stopped here; the step
			// that writes its configuration starts it.
			if err := install(ctx, h); err != nil {
				return fmt.Errorf("installing nginx: %w", err)
			}
			return nil
		},
		Verify: func(ctx context.Context, v phases.View) error {
			f, err := checkNginx(ctx, v)
			if err != nil {
				return err
			}
			if f.Verdict != migrate.Satisfied {
				return errors.New(f.Reason)
			}
			return nil
		},
		OneWay: "an installed package harms nobody, and something else may use it by now",
		Settle: 30 * time.Second,
	}
}

// installScript installs only what is missing: a new version of an nginx that
// serves others' sites is not ours to bring.
//
// Debian's package starts nginx at once, with a default site on port 80 of IPv4
// and IPv6; where the port is taken or there is no IPv6 the start fails, and
// with it the package stays half configured. So nothing of the name nginx is
// started for as long as this script lives (policy-rc.d, see invoke-rc.d(8)), a
// policy of somebody else's is asked all the same, and the default site is
// taken away where nginx was not here before. That it was not is noted first: a
// second run goes on with what the first one began.
const installScript = `set -eu
if command -v apt-get >/dev/null; then
  begun=` + phases.StateDir + `/nginx-install policy=` + policyFile + ` kept=` + policyFile + `.before-migrate
  mkdir -p -m 0700 ` + phases.StateDir + `
  command -v nginx >/dev/null || echo begun >$begun
  ` + missingPackages + `
  restore() { if [ -e $kept ]; then mv -f $kept $policy; else rm -f $policy; fi; }
  if [ -e $kept ] || grep -qs '` + policyMark + `' $policy; then restore; fi
  [ ! -e $policy ] || mv -f $policy $kept
  trap restore EXIT
  printf '%s\n' '#!/bin/sh' '` + policyMark + `' 'case "$*" in *nginx*) kill -0 '$$' 2>/dev/null && exit 101;; esac' "[ ! -x $kept ] || exec $kept \"\$@\"" 'exit 0' >$policy
  chmod 755 $policy
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 ` + installMissing + `
  site=/etc/nginx/sites-enabled/default
  if [ -e $begun ]; then
    [ "$(readlink $site || true)" != /etc/nginx/sites-available/default ] || rm -f $site
    rm -f $begun
  fi
elif command -v dnf >/dev/null; then
  p=nginx; command -v nginx >/dev/null && p=
  dnf install -y $p nginx-mod-stream
else echo "neither apt-get nor dnf is here: install nginx with its stream module by hand" >&2; exit 1; fi`

const (
	// missingPackages says in $p whether nginx itself is to be installed.
	missingPackages = `p=; if [ -e ` + phases.StateDir + `/nginx-install ] || ! command -v nginx >/dev/null; then p=nginx; fi`
	installMissing  = `install -y --no-install-recommends $p libnginx-mod-stream`

	// SimulateInstall is what the installation would do with apt-get.
	SimulateInstall = missingPackages + "; apt-get -s -q " + installMissing

	policyFile = "/usr/sbin/policy-rc.d"
	policyMark = "# of migrate: nginx is not started while its packages are installed"
)

// leftScript prints what an installation has left behind.
const leftScript = `command -v dpkg-query >/dev/null || exit 0
dpkg-query -W -f '${Package} is ${db:Status-Status}\n' nginx nginx-common libnginx-mod-stream 2>/dev/null | grep -E ' is (half-|unpacked)' || true`

// install runs the script, and says of one that failed what is left.
func install(ctx context.Context, h phases.Hands) error {
	host := h.On(h.Target())
	_, err := host.Run(ctx, remote.Command{Script: installScript, Detach: "install-nginx"})
	if err == nil || ctx.Err() != nil || errors.Is(err, remote.ErrUnknownOutcome) {
		return err
	}
	left, lookErr := host.Look(ctx, remote.Command{Script: leftScript})
	if lookErr != nil {
		return errors.Join(err, lookErr)
	}
	what := "nothing is half installed"
	if left = strings.TrimSpace(left); left != "" {
		what = "what is left: " + strings.ReplaceAll(left, "\n", ", ")
	}
	return fmt.Errorf("%w; %s. Mend what it says and run again, which goes on from there; by hand it is `apt-get install -f`", err, what)
}

// streamScript says whether nginx is there, wholly installed, and can serve
// streams: built in, or as a module file in the folder that nginx was built to
// load from.
const streamScript = `if grep -qs '` + policyMark + `' ` + policyFile + ` || [ -e ` + phases.StateDir + `/nginx-install ]; then echo begun; exit 0; fi
if command -v dpkg-query >/dev/null && dpkg-query -W -f '${db:Status-Status}\n' nginx nginx-common libnginx-mod-stream 2>/dev/null | grep -qE '^(half-|unpacked)'; then echo half; exit 0; fi
command -v nginx >/dev/null || { echo absent; exit 0; }
v=$(nginx -V 2>&1)
case "$v" in
*--with-stream=dynamic*) d=$(printf %s "$v" | sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p')
  [ -e "${d:-/usr/lib/nginx/modules}/ngx_stream_module.so" ] && echo stream || echo no-module;;
*--with-stream*) echo stream;;
*) echo no-stream;;
esac`

func checkNginx(ctx context.Context, v phases.View) (migrate.Finding, error) {
	out, err := v.On(v.Target()).Look(ctx, remote.Command{Script: streamScript})
	if err != nil {
		return migrate.Finding{}, fmt.Errorf("looking for nginx on %s: %w", v.Target(), err)
	}
	switch strings.TrimSpace(out) {
	case "stream":
		return phases.Done("nginx with its stream module is installed"), nil
	case "begun":
		return phases.Need(migrate.Before{"nginx": "begun"}, "an installation of nginx was begun and not ended"), nil
	case "half":
		return phases.Need(migrate.Before{"nginx": "half installed"}, "nginx is installed in part: the package manager has not configured it"), nil
	case "absent":
		return phases.Need(migrate.Before{"nginx": "absent"}, "nginx is not installed"), nil
	case "no-module":
		return phases.Need(migrate.Before{"nginx": "without stream module"}, "nginx is installed, its stream module is not"), nil
	}
	return phases.Block("install an nginx that has the stream module, for example the distribution's package",
		"nginx on %s was built without stream", v.Target()), nil
}
