package nginx

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
	"hamigrate/phases/platform"
)

// aheadOfConfiguration asks the steps what they would do, which lets nginx try
// the new configuration, and looks for what nginx itself can't say.
func aheadOfConfiguration(ctx context.Context, v phases.Reader) (balancer.Outlook, error) {
	o, err := LookAhead(ctx, v)
	if err != nil {
		return balancer.Outlook{}, err
	}
	if o.Absent {
		return balancer.Fine("nginx is not configured yet: phase 1 installs it"), nil
	}
	out := balancer.Fine("phase 1 writes %s; nginx takes it", o.File)
	if !o.Tried {
		out = balancer.Fine("phase 1 writes %s; it is tested when it is written", o.File)
		out.NotTried = fmt.Sprintf("nginx was not asked whether it takes %s; phase 1 asks before it writes", o.File)
	}
	for _, f := range o.Findings {
		if f.Verdict == migrate.Blocked {
			out.Found = append(out.Found, balancer.Stop(f.Remedy, "%s", f.Reason))
		}
	}
	guards, err := guarded(ctx, v, o.File)
	if err != nil {
		return balancer.Outlook{}, err
	}
	stopped, err := wouldStart(ctx, v, o.Listens)
	out.Found = slices.Concat(out.Found, guards, stopped)
	return out, err
}

// guarded looks for SELinux and AppArmor: as root `nginx -t` is fine, and the
// service may not listen.
func guarded(ctx context.Context, v phases.Reader, file string) ([]balancer.Finding, error) {
	c, err := platform.LookConfined(ctx, v.On(v.Target()), "nginx", "httpd_can_network_connect")
	if err != nil {
		return nil, err
	}
	port := v.Spec().Endpoint.Port
	var found []balancer.Finding
	label := "`" + platform.LabelPort(port) + "`"
	if c.SELinux {
		switch {
		case c.Ports == "":
			found = append(found, balancer.Warn("make sure of it: "+label+" (semanage is in policycoreutils-python-utils)", "SELinux enforces, and it does not say whether nginx may listen on port %d", port))
		case !c.May(port):
			found = append(found, balancer.Stop(label, "SELinux enforces, and port %d is none that nginx may listen on (http_port_t)", port))
		}
		if !c.Connects {
			found = append(found, balancer.Stop("`setsebool -P httpd_can_network_connect 1`", "SELinux enforces, and does not let nginx connect to the API servers (httpd_can_network_connect is off)"))
		}
	}
	if c.AppArmor != "" {
		found = append(found, balancer.Warn(fmt.Sprintf("let the profile in /etc/apparmor.d allow `network inet stream,`, and `%s r,`; then `systemctl reload apparmor`", file),
			"AppArmor enforces the profile %q, which may keep nginx from %s or from port %d", c.AppArmor, file, port))
	}
	return found, nil
}

// wouldStart: phase 1 starts an nginx that is stopped, with all that its
// configuration has.
func wouldStart(ctx context.Context, v phases.Reader, listens []int) ([]balancer.Finding, error) {
	if len(listens) == 0 {
		return nil, nil
	}
	out, err := v.On(v.Target()).Look(ctx, remote.Command{Script: "systemctl is-active nginx || true", Waits: true})
	if err != nil {
		return nil, fmt.Errorf("asking whether nginx on %s runs: %w", v.Target(), err)
	}
	if strings.TrimSpace(out) == "active" {
		return nil, nil
	}
	var found []balancer.Finding
	for _, port := range listens {
		holder, err := balancer.PortHolder(ctx, v.On(v.Target()), port)
		if err != nil {
			return nil, err
		}
		if holder != "" && holder != "nginx" {
			found = append(found, balancer.Stop(fmt.Sprintf("`nginx -T | grep -n 'listen.*%d'` shows the site that wants it: take it out of /etc/nginx/sites-enabled, or free the port", port),
				"nginx is stopped and would not start: its configuration listens on port %d, which %s has", port, holder))
		}
	}
	return found, nil
}

// portAsk asks for what Debian's default site would meet.
const portAsk = `echo @@taken; ss -Hltnp '( sport = :80 )'
echo @@ipv6; [ -e /proc/net/if_inet6 ] && echo yes; grep -hs '^RestrictAddressFamilies=' /etc/systemd/system/nginx.service.d/*.conf || true`

// aheadOfInstallation says what installing nginx would meet. A taken port 80 and a
// host without IPv6 are provided for: nginx is not started by its package.
func aheadOfInstallation(ctx context.Context, v phases.Reader) (balancer.Outlook, error) {
	have, err := checkNginx(ctx, v)
	if err != nil {
		return balancer.Outlook{}, err
	}
	if have.Verdict == migrate.Satisfied {
		return balancer.Fine("%s", have.Reason), nil
	}
	if have.Verdict == migrate.Blocked {
		return balancer.Outlook{Found: []balancer.Finding{balancer.Stop(have.Remedy, "%s", have.Reason)}}, nil
	}
	out, part, err := software().Installable(ctx, v, have.Reason, portAsk)
	if err != nil || part["manager"] == "" {
		return out, err
	}
	out.Fine += handled(part)
	if f, known := platform.Named(part["manager"]); known && f.NginxServes && (part["taken"] != "" || !strings.HasPrefix(part["ipv6"], "yes")) {
		out.Found = append(out.Found, balancer.Warn("after the installation take the server out of /etc/nginx/nginx.conf", "the package's nginx.conf serves a page on port 80 of IPv4 and IPv6, and port 80 is taken there or IPv6 is missing"))
	}
	return out, nil
}

// handled names what would have stopped the package alone.
func handled(part map[string]string) string {
	var list []string
	if part["taken"] != "" {
		list = append(list, "port 80 is taken")
	}
	if part["ipv6"] != "yes" {
		list = append(list, "nginx has no IPv6")
	}
	if len(list) == 0 {
		return ""
	}
	return " (" + strings.Join(list, ", ") + ": it is installed without being started, and without the package's default site)"
}
