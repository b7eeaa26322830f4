package conformance_test

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
	"hamigrate/state"
)

// TestForward runs the three phases and looks at what clients noticed and at
// what is there in the end.
func TestForward(t *testing.T) {
	t.Parallel()
	for _, strategy := range []phases.Strategy{phases.InPlace, phases.Overlap} {
		t.Run(string(strategy), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { forward(t, strategy, wantedNginx()) })
		})
	}
	t.Run("haproxy", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) { forward(t, phases.Overlap, wantedHAProxy(), simulator.HAProxy) })
	})
}

func forward(t *testing.T, strategy phases.Strategy, balancers map[string][]string, options ...simulator.Option) {
	w := simulator.New(t, options...)
	defer w.Close()
	o := conformance.NewOperator(t, w, filepath.Join(t.TempDir(), "journal"))
	defer o.Close()
	for _, p := range conformance.PhasesOf(w.Spec, strategy) {
		before := w.Outages()
		if err := o.RunPhase(t.Context(), p); err != nil {
			t.Fatalf("%v; never may be: %q", err, w.Broken())
		}
		announced := time.Duration(0)
		for _, s := range p.Steps {
			announced += s.Outage
		}
		for from, out := range w.Outages() {
			if out -= before[from]; out > announced {
				t.Errorf("%s: through the %s there was no API for %s, announced are %s", p.Name, from, out, announced)
			}
		}
	}
	if broken := w.Broken(); len(broken) > 0 {
		t.Errorf("never may be: %q", broken)
	}
	runAgain(t, o, strategy)
	w.Pass(conformance.Lasting)
	end := w.State()
	wanted := wantedEnd()
	maps.Copy(wanted, balancers)
	for what, parts := range wanted {
		for _, part := range parts {
			if !strings.Contains(end[what], part) {
				t.Errorf("%s lacks %q:\n%s", what, part, end[what])
			}
		}
	}
	for what := range end {
		for _, left := range []string{"join.yaml", "upload-certs.yaml", "/sign-", "migrate-etcd-peer-relay", "migrate-apiserver-twin", "migrate-overlap", "kubeadm-certs", "nft "} {
			if strings.Contains(what, left) && !strings.Contains(what, "/backup/") {
				t.Errorf("%s is left", what)
			}
		}
	}
}

// wantedEnd lists parts of the state of a migrated world.
func wantedEnd() map[string][]string {
	servers := "https://10.88.0.21:2379,https://10.88.0.22:2379,https://10.88.0.23:2379"
	end := map[string][]string{
		"etcd":            {"e1 [https://10.88.0.21:2380] [https://10.88.0.21:2379] learner=false", "e2 [", "e3 ["},
		"kube-proxy uses": {"https://10.88.0.5:6443"},
		"w1 kubelet uses": {"https://10.88.0.5:6443"},
		"w2 kubelet uses": {"https://10.88.0.5:6443"},
		"w2 /etc/kubernetes/bootstrap-kubelet.conf":                   {"server: https://10.88.0.5:6443"},
		"cp1 /etc/kubernetes/admin.conf":                              {"server: https://10.88.0.5:6443"},
		"cp1 /etc/kubernetes/controller-manager.conf":                 {"server: https://10.88.0.11:6443"},
		"cp1 serves at 6443":                                          {" 10.88.0.5 ", " 10.88.0.6 ", " 10.96.0.1 ", "kubernetes.default.svc"},
		"cp1 /var/lib/migrate/archive/etcd/member/snap/db":            {"cluster c1"},
		"cp2 /etc/kubernetes/enc/enc.yaml":                            {"600 root:root"},
		"cp3 /etc/kubernetes/audit/policy.yaml":                       {"640 root:root"},
		"object configmaps kube-public/cluster-info":                  {"server: https://10.88.0.5:6443", "jws-kubeconfig-abcdef"},
		"object configmaps kube-system/kubeadm-config":                {"controlPlaneEndpoint: 10.88.0.5:6443", "external:", "https://10.88.0.23:2379"},
		"object endpointslices default/kubernetes":                    {"10.88.0.11", "10.88.0.12", "10.88.0.13"},
		"e1 unit etcd.service":                                        {"active"},
		"e1 /etc/systemd/system/etcd.service":                         {"--quota-backend-bytes=8589934592", "--snapshot-count=10000"},
		"e2 /etc/systemd/system/multi-user.target.wants/etcd.service": {"link to"},
	}
	for _, node := range []string{"cp1", "cp2", "cp3"} {
		end[node+" runs"] = []string{"kube-apiserver ", "--etcd-servers=" + servers, "kube-controller-manager ", "kube-scheduler "}
		end["object nodes "+node] = []string{`"node-role.kubernetes.io/control-plane": ""`, `"status": "True"`}
	}
	return end
}

func wantedNginx() map[string][]string {
	end := map[string][]string{}
	for _, lb := range []string{"lb1", "lb2"} {
		end[lb+" nginx"] = []string{"server 10.88.0.11:6443", "server 10.88.0.12:6443", "server 10.88.0.13:6443", "worker_connections 1024"}
	}
	end["lb2 nginx"] = append(end["lb2 nginx"], "listen 80") // on lb1 the package's default site went
	return end
}

// wantedHAProxy: the file and the running process have all three, the two that joined
// by the socket. What lb2 served before it serves still.
func wantedHAProxy() map[string][]string {
	end := map[string][]string{}
	for _, lb := range []string{"lb1", "lb2"} {
		end[lb+" /etc/haproxy/migrate-kube-apiserver.cfg"] = []string{"server cp1 10.88.0.11:6443\n", "server cp2 10.88.0.12:6443\n", "server cp3 10.88.0.13:6443\n"}
		end[lb+" haproxy"] = []string{"[{kube-apiserver cp1 10.88.0.11:6443 0} {kube-apiserver cp2 10.88.0.12:6443 4} {kube-apiserver cp3 10.88.0.13:6443 4}]"}
	}
	end["lb2 unit haproxy.service"] = []string{"active"}
	end["lb2 nginx"] = []string{"listen 80"}
	return end
}

// runAgain: a complete migration has nothing to do, says so of every step, and
// changes nothing.
func runAgain(t *testing.T, o *conformance.Operator, strategy phases.Strategy) {
	before, ops := o.World.State(), len(o.World.Faults.Ops())
	env := o.World.Connect()
	defer env.Close()
	for _, p := range conformance.PhasesOf(o.World.Spec, strategy) {
		plan, err := migrate.Plan(t.Context(), env, p, o.Journal)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range plan {
			if e.Finding.Verdict != migrate.Satisfied || !e.Recorded.Touched() && e.Recorded != state.Satisfied {
				t.Errorf("%s on %s is %s (%s), recorded as %s", e.Step, e.Target, e.Finding.Verdict, e.Finding.Reason, e.Recorded)
			}
		}
		if err := o.RunPhase(t.Context(), p); err != nil {
			t.Error(err)
		}
	}
	if now := o.World.Faults.Ops(); len(now) != ops {
		t.Errorf("run again, it made changes: %q", now[ops:])
	}
	for what, was := range before {
		if now := o.World.State()[what]; now != was {
			t.Errorf("run again, %s has changed from\n%s to\n%s", what, was, now)
		}
	}
}
