package loadbalancer_test

import (
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/balancer/nginx"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// TestPlanWritesThroughNoLink: where links lead out of /etc/nginx, a copy of it
// leads to the files that nginx reads. The plan changes none of them (the world
// says so), and phase 1 writes them when it is their turn, and takes them back.
func TestPlanWritesThroughNoLink(t *testing.T) {
	const bare = "user www-data;\nevents { worker_connections 1024; }\nhttp { include /etc/nginx/sites-enabled/*; }\n"
	const stream = "load_module modules/ngx_stream_module.so;\n" + bare + "stream { include %/*.conf; }\n"
	for name, tt := range map[string]struct{ conf, script, ours string }{
		"nginx.conf": {bare, "mkdir -p /srv/nginx\ncat /etc/nginx/nginx.conf >/srv/nginx/nginx.conf\nrm -f /etc/nginx/nginx.conf\nln -s /srv/nginx/nginx.conf /etc/nginx/nginx.conf\n",
			"/etc/nginx/migrate.d/kube-apiserver.conf"},
		"a folder":     {strings.ReplaceAll(stream, "%", "/etc/nginx/stream.d"), "mkdir -p /srv/stream.d\nln -s /srv/stream.d /etc/nginx/stream.d\n", "/srv/stream.d/95-migrate-kube-apiserver.conf"},
		"a far folder": {strings.ReplaceAll(stream, "%", "/srv/stream.d"), "mkdir -p /srv/stream.d\n", "/srv/stream.d/95-migrate-kube-apiserver.conf"},
		"no link":      {bare, "", "/etc/nginx/migrate.d/kube-apiserver.conf"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *simulator.World) {
				nginxWith(t, map[string]string{"/etc/nginx/nginx.conf": tt.conf})(w)
				if err := w.Root("lb2", tt.script+"systemctl reload nginx\n"); err != nil {
					t.Fatal(err)
				}
			}, func(t *testing.T, s conformance.Stage) {
				env := s.Connect()
				defer env.Close()
				plan, err := migrate.Plan(s.Context(), env, conformance.AllPhases(phases.Overlap)[0], conformance.NoJournal{})
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range plan {
					if e.Finding.Verdict == migrate.Blocked {
						t.Errorf("%s: %s", e.Step, e.Finding.Reason)
					}
				}
				ahead, err := nginx.LookAhead(s.Context(), env.Reader("lb2"))
				if err != nil || ahead.Tried != (name == "no link") {
					t.Errorf("tried: %t (%v)", ahead.Tried, err)
				}
				if err := s.Phase(1, phases.Overlap); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(s.State()["lb2 "+tt.ours], "10.88.0.11:6443") {
					t.Errorf("there is no %s", tt.ours)
				}
			})
		})
	}
}
