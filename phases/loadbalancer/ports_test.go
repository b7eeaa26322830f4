package loadbalancer_test

import (
	"errors"
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
)

// TestTakenPort: somebody else's program has the endpoint's port.
func TestTakenPort(t *testing.T) {
	conformance.On(t, 0, phases.InPlace, func(s conformance.Stage) {
		s.Script("lb2", "printf 'server {\\n listen 6443;\\n}\\n' > /etc/nginx/sites-enabled/other; systemctl reload nginx")
		before := s.State()["lb2 /etc/nginx/sites-enabled/other"]
		err := s.Phase(1, phases.InPlace)
		if b := new(migrate.BlockedError); !errors.As(err, &b) || b.Target != "lb2" || !strings.Contains(err.Error(), "6443") {
			s.Errorf("got %v", err)
		}
		if after := s.State()["lb2 /etc/nginx/sites-enabled/other"]; after != before {
			s.Errorf("the other's file has become %q", after)
		}
	})
}

// TestNginxKeepsALimitOfOthers: what an included file has set already is not set
// once more, which nginx would refuse.
func TestNginxKeepsALimitOfOthers(t *testing.T) {
	conformance.On(t, 0, phases.InPlace, func(s conformance.Stage) {
		s.Script("lb2", "printf 'worker_rlimit_nofile 1024;\\n' > /etc/nginx/modules-enabled/10-own.conf; systemctl reload nginx")
		if err := s.Phase(1, phases.InPlace); err != nil {
			s.Fatalf("got %v", err)
		}
		s.Script("lb2", "nginx -t")
		if got := s.State()["lb2 nginx"]; !strings.Contains(got, "6443") {
			s.Errorf("nginx runs with\n%s", got)
		}
	})
}
