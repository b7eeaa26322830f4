package loadbalancer_test

import (
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/balancer/haproxy"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// frontend is what the step says of a host.
func frontend(s conformance.Stage, host string) migrate.Finding {
	s.T.Helper()
	step := conformance.StepOf(conformance.PhasesOf(s.World.Spec, phases.Overlap)[0], "loadbalancer/haproxy-frontend")
	f, err := step.Check(s.Context(), s.Env.Reader(host))
	if err != nil {
		s.Fatal(err)
	}
	return f
}

// edit is a script that changes a file in its place.
func edit(how, file string) string {
	return "sed '" + how + "' " + file + " >/run/edited && cp /run/edited " + file + " && rm /run/edited"
}

// TestHAProxyThatWasChangedByHand is brought back: by its socket where that is enough.
func TestHAProxyThatWasChangedByHand(t *testing.T) {
	for name, c := range map[string]struct{ script, says string }{
		"switched by the socket": {`echo 'set server kube-apiserver/cp1 state maint' | socat -t5 - UNIX-CONNECT:/run/migrate-haproxy/admin.sock`, "passes no new connection to 10.88.0.11:6443"},
		"an edited file":         {edit("s/timeout check 1s/timeout check 9s/", "/etc/haproxy/migrate-kube-apiserver.cfg"), "our files for HAProxy differ"},
		"an edited unit":         {edit("s/^Restart=.*/Restart=no/", "/etc/systemd/system/migrate-haproxy.service"), "our files for HAProxy differ"},
		"loaded as edited": {edit("s/description .*/description mine/", "/etc/haproxy/migrate-kube-apiserver.cfg") + "; systemctl reload migrate-haproxy.service",
			"our files for HAProxy differ"},
		"disabled": {`systemctl disable migrate-haproxy.service`, "does not start at boot"},
		"stopped":  {`systemctl stop migrate-haproxy.service`, "does not listen"},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
				before := s.State()
				s.Script("lb2", c.script)
				if f := frontend(s, "lb2"); f.Verdict != migrate.Needed || !strings.Contains(f.Reason, c.says) {
					s.Fatalf("it is %s: %s", f.Verdict, f.Reason)
				}
				step := conformance.StepOf(conformance.PhasesOf(s.World.Spec, phases.Overlap)[0], "loadbalancer/haproxy-frontend")
				if err := step.Apply(s.Context(), s.Env.Writer("lb2"), migrate.Before{}); err != nil {
					s.Fatal(err)
				}
				if err := step.Verify(s.Context(), s.Env.Reader("lb2")); err != nil {
					s.Error(err)
				}
				if now := s.State(); now["lb2 haproxy"] != before["lb2 haproxy"] {
					s.Errorf("it was\n%s\nand is\n%s", before["lb2 haproxy"], now["lb2 haproxy"])
				}
			}, simulator.HAProxy)
		})
	}
}

// TestVerifyTellsOfASwitchedServer: what somebody did by the socket is not what the
// file says.
func TestVerifyTellsOfASwitchedServer(t *testing.T) {
	conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
		s.Script("lb1", `echo 'set server kube-apiserver/cp2 state ready' | socat -t5 - UNIX-CONNECT:/run/migrate-haproxy/admin.sock`)
		f, err := haproxy.Balancer().Forwards(s.Context(), s.Env.Reader("lb1"))
		if err != nil || !strings.Contains(f.Stale, "10.88.0.12:6443 now: somebody") {
			s.Errorf("got %+v, error %v", f, err)
		}
	}, simulator.HAProxy)
}

// TestThePortOfHAProxyIsTaken, by a site of nginx's: nothing is changed.
func TestThePortOfHAProxyIsTaken(t *testing.T) {
	conformance.On(t, 0, phases.Overlap, func(s conformance.Stage) {
		s.Script("lb2", `echo 'server { listen 6443; }' > /etc/nginx/sites-enabled/other; systemctl reload nginx`)
		if f := frontend(s, "lb2"); f.Verdict != migrate.Blocked || !strings.Contains(f.Reason, "port 6443 of lb2 is taken by nginx") {
			s.Errorf("it is %s: %s", f.Verdict, f.Reason)
		}
		o, err := haproxy.Balancer().Ahead.Configuration(s.Context(), s.Env.Reader("lb2"))
		if err != nil || len(o.Found) != 1 || !o.Found[0].Blocks {
			s.Errorf("preflight expects %+v, error %v", o, err)
		}
	}, simulator.HAProxy)
}

// TestHAProxyIsTakenBack: nothing of ours is left, and what lb2 served it serves.
func TestHAProxyIsTakenBack(t *testing.T) {
	conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
		if err := s.Rollback(s.Context(), conformance.PhasesOf(s.World.Spec, phases.Overlap)[0]); err != nil {
			s.Fatal(err)
		}
		for what, is := range s.State() {
			if strings.Contains(what, "migrate-haproxy") || strings.Contains(what, "migrate-kube-apiserver") || strings.HasSuffix(what, " haproxy") {
				s.Errorf("%s is left: %s", what, is)
			}
		}
		if now := s.State(); now["lb2 unit haproxy.service"] != "active" || now["lb1 unit haproxy.service"] != "" {
			s.Errorf("haproxy.service is %q on lb2, and %q on lb1", now["lb2 unit haproxy.service"], now["lb1 unit haproxy.service"])
		}
		if f := frontend(s, "lb1"); f.Verdict != migrate.Needed {
			s.Errorf("undone, it is %s: %s", f.Verdict, f.Reason)
		}
	}, simulator.HAProxy)
}
