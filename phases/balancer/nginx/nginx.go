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
	"hamigrate/phases/balancer"
	"hamigrate/phases/platform"
)

// nginx makes sure that nginx with its stream module is installed. What it
// serves already is not touched.
func nginx() phases.Step {
	return phases.Step{
		ID:    "loadbalancer/nginx",
		Title: "Install nginx with its stream module",
		Why:   "The API is passed through as a TCP stream: ending TLS at the load balancer would break client certificates.",
		On:    migrate.LoadBalancers,
		ByHand: "```\n" + software().ByHand() + "\n```\n\n" +
			"Where port 80 is taken or there is no IPv6, Debian's package fails when it starts nginx with its default site. Then: `rm /etc/nginx/sites-enabled/default`, and `apt-get install -f`. " +
			"With dnf nginx is not started, and there take the `server { }` out of /etc/nginx/nginx.conf before it is.\n",
		Check: checkNginx,
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			// An installed nginx that is stopped stays stopped here; the step
			// that writes its configuration starts it.
			if err := software().Install(ctx, h); err != nil {
				return fmt.Errorf("installing nginx: %w", err)
			}
			return nil
		},
		Verify: func(ctx context.Context, v phases.Reader) error {
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

// wanted are nginx and its stream module on a family of distributions. Debian's
// package starts nginx with a default site on port 80 of IPv4 and IPv6; where the
// port is taken or there is no IPv6 that fails. So that site is taken away where
// nginx was not here before.
func wanted(f platform.Family) platform.Packages {
	const site = "/etc/nginx/sites-enabled/default"
	return platform.Packages{Program: "nginx", With: f.NginxStream,
		Fresh: `[ "$(readlink ` + site + ` || true)" != /etc/nginx/sites-available/default ] || rm -f ` + site}
}

// software is nginx with its stream module.
func software() balancer.Software {
	return balancer.Software{Program: "nginx", Whole: "nginx with its stream module", Wanted: wanted,
		Debian: []string{"nginx", "nginx-common", "libnginx-mod-stream"}}
}

// streamScript says whether nginx is there, wholly installed, and can serve
// streams: built in, or as a module file in the folder that nginx was built to
// load from.
func streamScript() string {
	return `if ` + platform.InstallBegun("nginx") + `; then echo begun; exit 0; fi
if [ -n "$(` + software().Half() + `)" ]; then echo half; exit 0; fi
command -v nginx >/dev/null || { echo absent; exit 0; }
v=$(nginx -V 2>&1)
case "$v" in
*--with-stream=dynamic*) d=$(printf %s "$v" | sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p')
  [ -e "${d:-/usr/lib/nginx/modules}/ngx_stream_module.so" ] && echo stream || echo no-module;;
*--with-stream*) echo stream;;
*) echo no-stream;;
esac`
}

func checkNginx(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	out, err := v.On(v.Target()).Look(ctx, remote.Command{Script: streamScript(), Waits: true})
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
