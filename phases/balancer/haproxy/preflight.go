package haproxy

import (
	"context"
	"fmt"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
	"hamigrate/phases/platform"
)

// connectAny is the boolean without which SELinux lets HAProxy neither listen on a
// port like 6443 nor connect to one.
const connectAny = "haproxy_connect_any"

// aheadOfConfiguration asks the step what it would do, which lets HAProxy judge the
// new configuration, and looks for what HAProxy itself can't say.
func aheadOfConfiguration(ctx context.Context, v phases.Reader) (balancer.Outlook, error) {
	f, tried, err := tryFrontend(ctx, v)
	if err != nil {
		return balancer.Outlook{}, err
	}
	out := balancer.Fine("phase 1 writes %s, which %s reads; HAProxy takes it", configFile, Unit)
	if !tried {
		out = balancer.Fine("phase 1 writes %s, which %s reads; HAProxy judges it when it is installed", configFile, Unit)
	}
	if f.Verdict == migrate.Blocked {
		out.Found = append(out.Found, balancer.Stop(f.Remedy, "%s", f.Reason))
	}
	guards, err := guarded(ctx, v)
	out.Found = append(out.Found, guards...)
	return out, err
}

// guarded looks for SELinux and AppArmor: as root `haproxy -c` is fine, and the
// service may not listen.
func guarded(ctx context.Context, v phases.Reader) ([]balancer.Finding, error) {
	c, err := platform.LookConfined(ctx, v.On(v.Target()), "haproxy", connectAny)
	if err != nil {
		return nil, err
	}
	var found []balancer.Finding
	if c.SELinux && !c.Connects {
		found = append(found, balancer.Stop("`setsebool -P "+connectAny+" 1`", "SELinux enforces, and lets HAProxy neither listen on port %d nor connect to the API servers (%s is off)", v.Spec().Endpoint.Port, connectAny))
	}
	if c.AppArmor != "" {
		found = append(found, balancer.Warn(fmt.Sprintf("let the profile in /etc/apparmor.d allow `network inet stream,`, `%s r,` and `%s/* rw,`; then `systemctl reload apparmor`", configFile, runFolder),
			"AppArmor enforces the profile %q, which may keep HAProxy from %s, from its sockets or from port %d", c.AppArmor, configFile, v.Spec().Endpoint.Port))
	}
	return found, nil
}

// aheadOfInstallation says what installing HAProxy would meet.
func aheadOfInstallation(ctx context.Context, v phases.Reader) (balancer.Outlook, error) {
	have, err := checkHAProxy(ctx, v)
	if err != nil || have.Verdict == migrate.Satisfied {
		return balancer.Fine("%s", have.Reason), err
	}
	out, _, err := software().Installable(ctx, v, have.Reason, "true")
	return out, err
}
