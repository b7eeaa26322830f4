package loadbalancer_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// inWorld plays in a world that arrange has changed before the operator starts.
func inWorld(t *testing.T, arrange func(*simulator.World), play func(*testing.T, conformance.Stage)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		arrange(w)
		o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer func() { o.Close() }()
		play(t, conformance.Stage{T: t, World: w, Operator: o})
		if broken := w.Broken(); len(broken) > 0 {
			t.Errorf("never may be: %q", broken)
		}
	})
}

// nodes are those with an /etc/hosts that matters.
var nodes = []string{"cp1", "cp2", "cp3", "w1", "w2"}

// named gives the endpoint a name, and each node a meaning of it.
func named(w *simulator.World, meaning func(node string) string) {
	w.Spec.Endpoint.Host = "cluster-endpoint"
	for _, n := range nodes {
		if err := w.Root(n, "echo '"+meaning(n)+" cluster-endpoint' >/etc/hosts"); err != nil {
			panic(err)
		}
	}
}

// TestEndpointNameMeansANode: the load balancer is set up while the name still
// means the first node; then a person is asked for the lines, and nobody is
// moved before the name leads through the load balancer.
func TestEndpointNameMeansANode(t *testing.T) {
	for name, meaning := range map[string]func(string) string{
		"everywhere": func(string) string { return "10.88.0.11" },
		"on the node itself": func(n string) string {
			return map[string]string{"cp1": "127.0.1.1"}[n] + map[bool]string{true: "10.88.0.5"}[n != "cp1"]
		},
		"on one worker":         func(n string) string { return map[bool]string{true: "10.88.0.11", false: "10.88.0.5"}[n == "w1"] },
		"as another worker":     func(n string) string { return map[bool]string{true: "10.88.0.32", false: "10.88.0.5"}[n == "w2"] },
		"as the other balancer": func(string) string { return "10.88.0.6" },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *simulator.World) { named(w, meaning) }, func(t *testing.T, s conformance.Stage) {
				var asked []string
				s.Env.UseAsk(func(what string) {
					asked = append(asked, what)
					if server := s.State()["w1 kubelet uses"]; strings.Contains(server, "cluster-endpoint") {
						t.Errorf("asked when the kubelet of w1 uses %s", server)
					}
					time.AfterFunc(20*time.Second, func() { named(s.World, func(string) string { return "10.88.0.5" }) })
				}, 0)
				if err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
					t.Fatal(err)
				}
				if name == "as the other balancer" {
					if len(asked) > 0 {
						t.Errorf("asked %q", asked)
					}
					return
				}
				if len(asked) != 1 || !strings.Contains(asked[0], "10.88.0.5 cluster-endpoint") {
					t.Errorf("asked %q", asked)
				}
				if server := s.State()["w2 kubelet uses"]; server != "https://cluster-endpoint:6443" {
					t.Errorf("the kubelet of w2 uses %s", server)
				}
			})
		})
	}
}

// TestNobodyChangesTheName: the wait ends in an error, and no client was moved.
func TestNobodyChangesTheName(t *testing.T) {
	inWorld(t, func(w *simulator.World) { named(w, func(string) string { return "10.88.0.11" }) }, func(t *testing.T, s conformance.Stage) {
		s.Env.UseAsk(nil, 30*time.Second)
		err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0])
		if err == nil || !strings.Contains(err.Error(), "which is cp1") {
			t.Fatalf("got %v", err)
		}
		if server := s.State()["w1 kubelet uses"]; !strings.Contains(server, "10.88.0.11") {
			t.Errorf("the kubelet of w1 uses %s", server)
		}
		stop := make(chan struct{})
		s.Env.UseStop(stop)
		s.Env.UseAsk(func(string) { time.AfterFunc(10*time.Second, func() { close(stop) }) }, time.Hour)
		began := time.Now()
		if err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0]); !errors.Is(err, migrate.ErrStopped) || time.Since(began) > 2*time.Minute {
			t.Errorf("asked to stop, it ended after %s with %v", time.Since(began), err)
		}
	})
}

// TestTranslatedAddresses: where the load balancer does not see who comes, the
// number of connections is the proof.
func TestTranslatedAddresses(t *testing.T) {
	inWorld(t, func(w *simulator.World) {
		w.Hardware("w1", func(h *simulator.Hardware) { h.Behind = "10.88.0.1" })
	}, func(t *testing.T, s conformance.Stage) {
		if err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
	})
}

// TestOneNodeGoesPastTheBalancer at the end of phase 3: the proof fails, and the
// first API server is behind the load balancers again.
func TestOneNodeGoesPastTheBalancer(t *testing.T) {
	inWorld(t, func(w *simulator.World) { named(w, func(string) string { return "10.88.0.5" }) }, func(t *testing.T, s conformance.Stage) {
		for _, p := range conformance.AllPhases(phases.InPlace)[:2] {
			if err := s.Operator.RunPhase(s.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		s.Script("w2", "echo '10.88.0.11 cluster-endpoint' >/etc/hosts")
		err := s.Phase(3, phases.InPlace)
		if err == nil || !strings.Contains(err.Error(), "w2") || !strings.Contains(err.Error(), "which is cp1") {
			t.Fatalf("got %v", err)
		}
		s.Script("w2", "echo '10.88.0.5 cluster-endpoint' >/etc/hosts")
		if err := s.Phase(3, phases.InPlace); err != nil {
			t.Fatal(err)
		}
		for _, lb := range []string{"lb1", "lb2"} {
			conf := s.State()[lb+" nginx"]
			for _, a := range []string{"10.88.0.11:6443 max", "10.88.0.12:6443 max", "10.88.0.13:6443 max"} {
				if !strings.Contains(conf, a) {
					t.Errorf("%s does not forward to %s:\n%s", lb, a, conf)
				}
			}
		}
	})
}

const ownStreamFile = "/etc/nginx/modules-enabled/95-migrate-kube-apiserver.conf"

// nginxWith arranges lb2's nginx, which serves a site and has its stream module
// on the disk.
func nginxWith(t *testing.T, files map[string]string) func(*simulator.World) {
	return func(w *simulator.World) {
		script := "apt-get install libnginx-mod-stream\n"
		for name, text := range files {
			script += "mkdir -p " + filepath.Dir(name) + "\ncat >" + name + " <<'EOF'\n" + text + "EOF\n"
		}
		if err := w.Root("lb2", script+"systemctl reload nginx\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNginxOfOthers: configurations as people write them. What can't be used is
// said with its file before anything is changed; the rest works.
func TestNginxOfOthers(t *testing.T) {
	const conf = "/etc/nginx/nginx.conf"
	const bare = "user www-data;\nevents { worker_connections 768; }\nhttp { include /etc/nginx/mime.types; include /etc/nginx/sites-enabled/*; }\n"
	const old = "stream {\n upstream kubernetes { server 10.88.0.11:6443; }\n server { listen 8443; proxy_pass kubernetes; }\n}\n"
	for name, tt := range map[string]struct {
		files   map[string]string
		blocked []string // words; none: it works
		ours    string   // our file
	}{
		"a stream block in an included file": {files: map[string]string{conf: simulator.DebianNginxConf + "include /etc/nginx/tcpconf.d/*;\n", "/etc/nginx/tcpconf.d/kubernetes.conf": old},
			blocked: []string{"/etc/nginx/tcpconf.d/kubernetes.conf:1", "kind: external"}},
		"a stream block in modules-enabled": {files: map[string]string{"/etc/nginx/modules-enabled/99-k8s.conf": old}, blocked: []string{"/etc/nginx/modules-enabled/99-k8s.conf:1"}},
		"the port is nginx's": {files: map[string]string{"/etc/nginx/modules-enabled/99-k8s.conf": strings.Replace(old, "listen 8443;", "listen 8443; listen 6443;", 1) + "\n", conf: simulator.DebianNginxConf},
			blocked: []string{"99-k8s.conf"}},
		"the port is nginx's, with an include": {files: map[string]string{"/etc/nginx/modules-enabled/99-k8s.conf": strings.Replace(old, "listen 8443;", "listen 6443;", 1) + "", conf: simulator.DebianNginxConf + "# x\n"},
			blocked: []string{"99-k8s.conf"}},
		"any include":             {files: map[string]string{conf: simulator.DebianNginxConf + "stream {\n include streams-enabled/*;\n}\n"}, ours: "/etc/nginx/streams-enabled/95-migrate-kube-apiserver.conf"},
		"mail beside it":          {files: map[string]string{conf: simulator.DebianNginxConf + "mail {\n}\n"}, ours: ownStreamFile},
		"module not loaded":       {files: map[string]string{conf: bare}, ours: "/etc/nginx/migrate.d/kube-apiserver.conf"},
		"no line for connections": {files: map[string]string{conf: strings.Replace(bare, "worker_connections 768;", "", 1)}, ours: "/etc/nginx/migrate.d/kube-apiserver.conf"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nginxWith(t, tt.files), func(t *testing.T, s conformance.Stage) {
				before := s.State()["lb2 "+conf]
				if tt.blocked != nil {
					env := s.Connect()
					defer env.Close()
					plan, err := migrate.Plan(s.Context(), env, conformance.AllPhases(phases.Overlap)[0], conformance.NoJournal{})
					if err != nil {
						t.Fatal(err)
					}
					var said string
					for _, e := range plan {
						if e.Finding.Verdict == migrate.Blocked {
							said += e.Finding.Reason + " " + e.Finding.Remedy
						}
					}
					for _, w := range tt.blocked {
						if !strings.Contains(said, w) {
							t.Errorf("%q is not in %q", w, said)
						}
					}
					return
				}
				if err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
					t.Fatal(err)
				}
				if s.State()["lb2 "+tt.ours] == "" {
					t.Errorf("there is no %s", tt.ours)
				}
				if err := s.Rollback(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
					t.Fatal(err)
				}
				if now := s.State()["lb2 "+conf]; now != before {
					t.Errorf("after the way back nginx.conf is\n%s\nand was\n%s", now, before)
				}
				if s.State()["lb2 "+tt.ours] != "" {
					t.Errorf("%s is left", tt.ours)
				}
			})
		})
	}
}

// TestNginxMayNotListen: a reload says nothing of a port that can't be had. The
// step says it, with SELinux's remedy, and leaves nginx.conf as it was.
func TestNginxMayNotListen(t *testing.T) {
	const conf = "/etc/nginx/nginx.conf"
	const bare = "user www-data;\nevents { worker_connections 768; }\nhttp { include /etc/nginx/sites-enabled/*; }\n"
	inWorld(t, nginxWith(t, map[string]string{conf: bare}), func(t *testing.T, s conformance.Stage) {
		s.Hardware("lb2", func(h *simulator.Hardware) { h.Forbidden = []int{6443} })
		s.Script("lb2", "mkdir -p /var/log/nginx; echo '2020/01/01 [emerg] of long ago' >/var/log/nginx/error.log")
		before := s.State()["lb2 "+conf]
		err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0])
		if err == nil || !strings.Contains(err.Error(), "semanage port -a -t http_port_t -p tcp 6443") || !strings.Contains(err.Error(), "bind() to 0.0.0.0:6443 failed") {
			t.Fatalf("got %v", err)
		}
		if b := new(migrate.BlockedError); errors.As(err, &b) {
			t.Fatalf("blocked: %v", err)
		}
		now := s.State()
		if !strings.Contains(before, "768") || now["lb2 "+conf] != strings.Replace(before, "768", "1024", 1) {
			t.Errorf("nginx.conf is\n%s\nand was\n%s", now["lb2 "+conf], before)
		}
		if now["lb2 /etc/nginx/migrate.d/kube-apiserver.conf"] != "" {
			t.Error("our file is left")
		}
		s.Hardware("lb2", func(h *simulator.Hardware) { h.Forbidden = nil })
		if err := s.Phase(1, phases.Overlap); err != nil {
			t.Fatal(err)
		}
	})
}

// TestInstallWherePort80IsTaken: the package's default site would keep nginx from
// starting; a policy of somebody else's is there again afterwards.
func TestInstallWherePort80IsTaken(t *testing.T) {
	inWorld(t, func(w *simulator.World) {
		w.Hardware("lb1", func(h *simulator.Hardware) { h.No80 = true })
		if err := w.Root("lb1", "mkdir -p /usr/sbin; echo 'exit 104' >/usr/sbin/policy-rc.d"); err != nil {
			t.Fatal(err)
		}
	}, func(t *testing.T, s conformance.Stage) {
		if err := s.Operator.RunPhase(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
			t.Fatal(err)
		}
		now := s.State()
		if now["lb1 /etc/nginx/sites-enabled/default"] != "" || now["lb2 /etc/nginx/sites-enabled/default"] == "" {
			t.Error("the default site goes only where nginx was not there before")
		}
		if !strings.Contains(now["lb1 /usr/sbin/policy-rc.d"], "exit 104") || now["lb1 /var/lib/migrate/nginx-install"] != "" || now["lb1 /usr/sbin/policy-rc.d.before-migrate"] != "" {
			t.Errorf("policy-rc.d is %q", now["lb1 /usr/sbin/policy-rc.d"])
		}
	})
}
