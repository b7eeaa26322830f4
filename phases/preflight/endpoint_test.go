package preflight_test

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases"
	"hamigrate/phases/balancers"
	"hamigrate/phases/loadbalancer"
	"hamigrate/phases/preflight"
	"hamigrate/phases/simulator"
	"hamigrate/state"
)

// TestDeadLoadBalancer: what phase 1 has set up, and does not answer any more,
// blocks the phases after it; before phase 1 nobody is expected to answer.
func TestDeadLoadBalancer(t *testing.T) {
	t.Parallel()
	for name, dies := range map[string]string{
		"stopped":         "systemctl stop nginx",
		"refused, too":    "systemctl stop nginx; echo 'streem { }' >>/etc/nginx/nginx.conf",
		"":                "true",
		"before phase 1":  "",
		"its host is off": "off",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := start(t)
			synctest.Test(t, func(t *testing.T) {
				w := from.World(t)
				defer w.Close()
				if dies != "" {
					env := w.Connect()
					defer env.Close()
					balance(t, w, env)
				}
				for _, lb := range []string{"lb1", "lb2"} {
					switch dies {
					case "":
					case "off":
						for _, node := range []string{"cp1", "w1", "w2"} {
							w.Cut(node, lb, true)
						}
					default:
						root(lb, dies)(t, w)
					}
				}
				env := w.Connect()
				defer env.Close()
				report, err := preflight.Run(t.Context(), env, preflight.Options{Phase: 2})
				if err != nil {
					t.Fatal(err)
				}
				blocked := 0
				for _, x := range report.Results {
					if x.Check == "EndpointReached" && x.Severity == preflight.Blocking {
						blocked++
						if !strings.Contains(x.Seen, "does not lead to the API server from here") {
							t.Errorf("%+v", x)
						}
					}
				}
				if dead := dies != "" && dies != "true"; (blocked > 0) != dead {
					t.Errorf("%d blocked", blocked)
				}
			})
		})
	}
}

// balance does phase 1.
func balance(t *testing.T, w *simulator.World, env *phases.Access) {
	t.Helper()
	journal, err := state.Open(filepath.Join(t.TempDir(), "journal"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	r := migrate.Runner[phases.Reader, phases.Writer]{Env: env, Journal: journal, Spec: w.Spec.Fingerprint}
	if err := r.Run(t.Context(), loadbalancer.Phase().For(balancers.Choice(cluster.Spec{}))); err != nil {
		t.Fatal(err)
	}
}

// TestNoTimeForTheEndpoint: a check that has not come to its turn says so, and
// blocks nothing.
func TestNoTimeForTheEndpoint(t *testing.T) {
	t.Parallel()
	from := start(t)
	synctest.Test(t, func(t *testing.T) {
		w := from.World(t)
		defer w.Close()
		env := w.Connect()
		defer env.Close()
		balance(t, w, env)
		release, err := env.Reader("cp1").Alone(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		report, err := preflight.Run(t.Context(), env, preflight.Options{Phase: 2})
		if err != nil {
			t.Fatal(err)
		}
		warned := 0
		for _, x := range report.Results {
			if x.Check != "EndpointReached" {
				continue
			}
			if x.Severity != preflight.Warning || !strings.Contains(x.Seen, "was not looked at") || x.Remedy != "run `migrate preflight` again" {
				t.Errorf("%+v", x)
			}
			warned++
		}
		if warned != 3 {
			t.Errorf("%d results", warned)
		}
	})
}
