package loadbalancer

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
		ID:     "loadbalancer/nginx",
		Title:  "Install nginx with its stream module",
		Why:    "The API is passed through as a TCP stream: ending TLS at the load balancer would break client certificates.",
		On:     migrate.LoadBalancers,
		ByHand: "```\napt-get install -y nginx libnginx-mod-stream    # or: dnf install -y nginx nginx-mod-stream\n```\n",
		Check:  checkNginx,
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			// An installed nginx that is stopped stays stopped here; the step
			// that writes its configuration starts it.
			_, err := h.On(h.Target()).Run(ctx, remote.Command{Script: installScript, Detach: "install-nginx"})
			if err != nil {
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
const installScript = `set -eu
p=nginx; command -v nginx >/dev/null && p=
if command -v apt-get >/dev/null; then DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $p libnginx-mod-stream
elif command -v dnf >/dev/null; then dnf install -y $p nginx-mod-stream
else echo "neither apt-get nor dnf is here: install nginx with its stream module by hand" >&2; exit 1; fi`

// streamScript says whether nginx is there and can serve streams: built in,
// or as a module file in the folder that nginx was built to load from.
const streamScript = `command -v nginx >/dev/null || { echo absent; exit 0; }
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
	case "absent":
		return phases.Need(migrate.Before{"nginx": "absent"}, "nginx is not installed"), nil
	case "no-module":
		return phases.Need(migrate.Before{"nginx": "without stream module"}, "nginx is installed, its stream module is not"), nil
	}
	return phases.Block("install an nginx that has the stream module, for example the distribution's package",
		"nginx on %s was built without stream", v.Target()), nil
}
