// Half of the time of these tests would be spent on the handshakes of a key
// exchange that they say nothing about.
//go:debug tlsmlkem=0

package verify_test

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases"
	"hamigrate/phases/balancers"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
	"hamigrate/phases/simulator"
	"hamigrate/phases/verify"
	"hamigrate/state"
)

var (
	once sync.Once
	end  *simulator.Saved
)

// migrated is a cluster after all three phases; it is made once.
func migrated(t *testing.T) *simulator.Saved {
	t.Helper()
	once.Do(func() {
		synctest.Test(t, func(t *testing.T) {
			w := simulator.New(t)
			defer w.Close()
			j, err := state.Open(filepath.Join(t.TempDir(), "journal"), state.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			env := w.Connect()
			defer env.Close()
			r := migrate.Runner[phases.Reader, phases.Writer]{Env: env, Journal: j, Spec: w.Spec.Fingerprint}
			for _, p := range []phases.Phase{loadbalancer.Phase().For(balancers.Choice(cluster.Spec{})), etcd.Phase().For(phases.InPlace.Choice()), controlplane.Phase()} {
				if err := r.Run(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			w.Pass(3 * time.Hour)
			end = w.Save()
		})
	})
	if end == nil {
		t.Fatal("there is no migrated cluster")
	}
	return end
}

// look verifies a world that arrange has changed.
func look(t *testing.T, from *simulator.Saved, arrange func(*testing.T, *simulator.World)) (r verify.Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var w *simulator.World
		if from == nil {
			w = simulator.New(t)
		} else {
			w = from.World(t)
		}
		defer w.Close()
		if arrange != nil {
			arrange(t, w)
		}
		env := w.Connect()
		defer env.Close()
		ops := len(w.Faults.Ops())
		var err error
		if r, err = verify.Run(t.Context(), env, nil); err != nil {
			t.Fatal(err)
		}
		if now := w.Faults.Ops(); len(now) != ops {
			t.Errorf("it has changed something: %q", now[ops:])
		}
	})
	return r
}

// TestMigratedCluster: all is so, and each check has looked at its hosts.
func TestMigratedCluster(t *testing.T) {
	t.Parallel()
	r := look(t, migrated(t), nil)
	for _, x := range r.Bad() {
		t.Errorf("%d %s on %s: %s", x.Number, x.Check, x.Host, x.Seen)
	}
	seen := map[string]int{}
	for _, x := range r.Results {
		seen[x.Check]++
	}
	for _, c := range verify.Checks() {
		if seen[c.Name] == 0 {
			t.Errorf("%s has no result", c.Name)
		}
	}
	if seen["Reached"] != 10 || seen["Endpoint"] != 5 || seen["EtcdService"] != 3 || seen["LoadBalancers"] != 2 || r.Degraded {
		t.Errorf("%v, degraded %t", seen, r.Degraded)
	}
}

// TestFreshCluster: what was never migrated is not taken for what was.
func TestFreshCluster(t *testing.T) {
	t.Parallel()
	r := look(t, nil, nil)
	bad := map[string]bool{}
	for _, x := range r.Bad() {
		bad[x.Check+" "+x.Host] = true
		if x.Why == "" || x.Remedy == "" {
			t.Errorf("%+v says not why, or not what to do", x)
		}
	}
	for _, want := range []string{
		"ControlPlaneNodes cp2", "APIServerEtcd cp1", "ServingCertificate cp1", "NoEtcdOnControlPlane cp1", "EtcdMembers cluster", "EtcdService e1",
		"EtcdCertificates e1", "LoadBalancers lb1", "Endpoint w1", "Kubelets w1", "Kubeconfigs cp1", "ClusterInfo cluster", "KubeProxy cluster",
		"KubeadmConfig cluster", "CoreDNS cluster", "KubernetesService cluster",
	} {
		if !bad[want] {
			t.Errorf("%s is said to be so", want)
		}
	}
	if !r.Degraded {
		t.Error("it is not called degraded")
	}
}

func root(host, script string) func(*testing.T, *simulator.World) {
	return func(t *testing.T, w *simulator.World) {
		if err := w.Root(host, script); err != nil {
			t.Fatal(err)
		}
		w.Pass(2 * time.Minute)
	}
}

// shorten lets a pair end after so many days.
func shorten(host, pair string, days int) func(*testing.T, *simulator.World) {
	return func(t *testing.T, w *simulator.World) {
		if err := w.EndIn(host, pair, days); err != nil {
			t.Fatal(err)
		}
		w.Pass(time.Minute)
	}
}

// TestFaults: each is found where it is.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		name, check, host, word string
		arrange                 func(*testing.T, *simulator.World)
	}{
		{"a host that is not there", "Reached", "e3", "no route to host", func(_ *testing.T, w *simulator.World) {
			w.Spec.Etcd.Hosts = slices.Clone(w.Spec.Etcd.Hosts)
			w.Spec.Etcd.Hosts[2].Address = "10.88.0.77"
		}},
		{"a kubelet that is off", "ControlPlaneNodes", "cp2", "not Ready", root("cp2", "systemctl stop kubelet")},
		{"a member that is off", "EtcdMembers", "cluster", "e2 does not answer", root("e2", "systemctl stop etcd.service")},
		{"a member that is off has no data to compare", "EtcdData", "cluster", "2 of 3 voters answer", root("e2", "systemctl stop etcd.service")},
		{"a service that is off", "EtcdService", "e2", "inactive", root("e2", "systemctl stop etcd.service")},
		{"an alarm", "EtcdMembers", "cluster", "NOSPACE", func(_ *testing.T, w *simulator.World) { w.Alarm("NOSPACE") }},
		{"old data on cp1", "NoEtcdOnControlPlane", "cp1", "/var/lib/etcd/member", root("cp1", "mkdir -p /var/lib/etcd/member; echo x >/var/lib/etcd/member/db")},
		{"a member whose certificate and key are no pair", "EtcdCertificates", "e1", "10.88.0.21", root("e1", "cp /etc/etcd/pki/ca.crt /etc/etcd/pki/server.crt")},
		{"a kubelet back at cp1", "Kubelets", "w1", "10.88.0.11", root("w1", "sed 's|server: .*|server: https://10.88.0.11:6443|' /etc/kubernetes/kubelet.conf >/tmp/k; cp /tmp/k /etc/kubernetes/kubelet.conf; systemctl restart kubelet")},
		{"an admin.conf of before", "Kubeconfigs", "cp2", "admin.conf names https://10.88.0.12:6443", root("cp2", "sed 's|server: .*|server: https://10.88.0.12:6443|' /etc/kubernetes/admin.conf >/tmp/k; cp /tmp/k /etc/kubernetes/admin.conf")},
		{"a kube-proxy that is not Ready", "KubeProxy", "cluster", "4 of 5 Ready nodes have the new one", func(_ *testing.T, w *simulator.World) { w.Unready("kube-proxy-w1") }},
		{"a single CoreDNS pod", "CoreDNS", "cluster", "is to have 1 pods; Ready ones are on w", func(_ *testing.T, w *simulator.World) { w.Scale(1) }},
		{"no CoreDNS pod that is Ready", "CoreDNS", "cluster", "on no node only", func(_ *testing.T, w *simulator.World) { w.Unready("coredns-") }},
		{"a member's certificate that ends soon", "EtcdCertificates", "e2", "/etc/etcd/pki/peer.crt ends on", shorten("e2", "/etc/etcd/pki/peer", 20)},
		{"an API server's certificate that ends soon", "EtcdClientCertificate", "cp2", "in 19 days", shorten("cp2", "/etc/kubernetes/pki/apiserver-etcd-client", 20)},
		{"an API server's certificate of another CA", "EtcdClientCertificate", "cp3", "unknown authority", root("cp3", "cd /etc/kubernetes/pki; cp apiserver-kubelet-client.crt apiserver-etcd-client.crt; cp apiserver-kubelet-client.key apiserver-etcd-client.key")},
		{"an API server's certificate without its key", "EtcdClientCertificate", "cp2", "private key does not match", root("cp2", "cp /etc/kubernetes/pki/apiserver-kubelet-client.key /etc/kubernetes/pki/apiserver-etcd-client.key")},
		{"no way to the load balancer", "Endpoint", "w2", "10.88.0.5", func(_ *testing.T, w *simulator.World) { w.Cut("w2", "lb1", true) }},
		{"a backend that is out of reach", "Spread", "cluster", "cp3", func(_ *testing.T, w *simulator.World) { w.Cut("lb1", "cp3", true) }},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			r := look(t, migrated(t), f.arrange)
			if !slices.ContainsFunc(r.Bad(), func(x verify.Result) bool {
				return x.Check == f.check && x.Host == f.host && strings.Contains(x.Seen, f.word)
			}) {
				t.Errorf("%s on %s was not found with %q; what was: %+v", f.check, f.host, f.word, r.Bad())
			}
		})
	}
}

// TestNoTimeForTheEndpoint: a check that has not come to its turn says so, and
// nothing of the node.
func TestNoTimeForTheEndpoint(t *testing.T) {
	t.Parallel()
	from := migrated(t)
	synctest.Test(t, func(t *testing.T) {
		w := from.World(t)
		defer w.Close()
		env := w.Connect()
		defer env.Close()
		release, err := env.Reader("cp1").Alone(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		r, err := verify.Run(t.Context(), env, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range r.Bad() {
			if x.Check != "Endpoint" || !strings.Contains(x.Seen, "was not looked at") || x.Remedy != "run `migrate verify` again" {
				t.Errorf("%+v", x)
			}
		}
		if len(r.Bad()) != 5 {
			t.Errorf("%d are bad", len(r.Bad()))
		}
	})
}

// TestFirstNodeAway: nothing can be asked, and that is said in one line.
func TestFirstNodeAway(t *testing.T) {
	t.Parallel()
	r := look(t, migrated(t), func(_ *testing.T, w *simulator.World) { w.Spec.ControlPlane.First.Address = "10.88.0.77" })
	if len(r.Results) != 1 || r.Results[0].Host != "cp1" || !strings.Contains(r.Results[0].Seen, "nothing else was looked at") || !r.Degraded {
		t.Errorf("%+v", r.Results)
	}
}
