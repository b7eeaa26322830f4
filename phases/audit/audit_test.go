// Half of the time of these tests would be spent on the handshakes of a key
// exchange that they say nothing about.
//go:debug tlsmlkem=0

package audit_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases"
	"hamigrate/phases/audit"
	"hamigrate/phases/balancers"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
	"hamigrate/phases/simulator"
	"hamigrate/state"
)

// look audits a world, and wants it to be left alone.
func look(t *testing.T, w *simulator.World) (audit.Report, map[string]audit.Result) {
	t.Helper()
	env := w.Connect()
	defer env.Close()
	ops := len(w.Faults.Ops())
	r, err := audit.Run(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	if now := w.Faults.Ops(); len(now) != ops {
		t.Errorf("it has changed something: %q", now[ops:])
	}
	by := map[string]audit.Result{}
	for _, x := range r.Results {
		by[x.Point] = x
		if x.Loss == "" || x.Lasts == "" || x.Seen == "" {
			t.Errorf("%+v does not say what its loss does, or for how long", x)
		}
		if x.RemovedBy == "no" && x.Otherwise == "" {
			t.Errorf("%s is removed by nothing", x.Point)
		}
		if x.State == audit.Unknown {
			t.Errorf("%s: %s", x.Point, x.Seen)
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hidden") {
		t.Errorf("it tells what a Secret holds: %s", text)
	}
	return r, by
}

// TestBeforeAndAfter audits the same cluster before the migration and after
// it: what disappeared, what stays, and what came.
func TestBeforeAndAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t, simulator.EtcdOnHostAddress)
		defer w.Close()
		w.PutSecret("ci", "kubeconfig", "server: https://10.88.0.11:6443, token: hidden")
		w.Place("lonely", "cp1", false)
		if err := w.Root("w1", "mkdir -p /etc/cni/net.d; echo 'server: https://10.88.0.11:6443' >/etc/cni/net.d/cni-kubeconfig"); err != nil {
			t.Fatal(err)
		}
		if err := w.Root("w2", "mkdir -p /etc/cni/net.d; echo 'server: https://10.88.0.110:6443' >/etc/cni/net.d/other"); err != nil {
			t.Fatal(err)
		}
		report, before := look(t, w)
		for point, removed := range map[string]string{
			"APIServer": "phases 1 and 3", "Etcd": "phase 2", "ControllerManager": "phase 3", "Scheduler": "phase 3", "CoreDNS": "phase 3",
			"PinnedWorkloads": "no", "Zones": "no", "Kubeconfigs": "phase 1", "ConfigMaps": "phase 1", "Secrets": "no", "CNI": "no",
		} {
			if x := before[point]; x.State != audit.Single || x.RemovedBy != removed {
				t.Errorf("before, %s is %s, removed by %s; want single, %s: %s", point, x.State, x.RemovedBy, removed, x.Seen)
			}
		}
		if lb := before["LoadBalancer"]; lb.State != audit.Adds || !strings.Contains(lb.Seen, "10.88.0.5:6443 is the address of lb1 alone") {
			t.Errorf("before, the load balancer: %+v", lb)
		}
		if where := before["Secrets"].Where; !slices.Equal(where, []string{"Secret default/ci, kubeconfig"}) {
			t.Errorf("Secrets: %q", where)
		}
		if where := before["CNI"].Where; !slices.Equal(where, []string{"w1:/etc/cni/net.d/cni-kubeconfig"}) {
			t.Errorf("CNI: %q", where)
		}
		for _, want := range []string{"cp1:/etc/kubernetes/admin.conf", "w1:/etc/kubernetes/kubelet.conf"} {
			if !slices.Contains(before["Kubeconfigs"].Where, want) {
				t.Errorf("%s is not among %q", want, before["Kubeconfigs"].Where)
			}
		}
		if slices.Contains(before["Kubeconfigs"].Where, "cp1:/etc/kubernetes/scheduler.conf") {
			t.Error("the scheduler's own API server beside it is taken for a single point of failure of its own")
		}
		if report.Need.Advice != audit.NotNeeded || len(report.Need.Reasons) < 3 {
			t.Errorf("two workers and nobody who needs the API: %+v", report.Need)
		}
		if err := w.Root("cp1", "true"); err != nil {
			t.Fatal(err)
		}
		w.Remove("pods", "kube-system", "lonely")
		migrateAll(t, w)
		_, after := look(t, w)
		for _, point := range []string{"APIServer", "Etcd", "ControllerManager", "Scheduler", "CoreDNS", "PinnedWorkloads", "Kubeconfigs", "ConfigMaps"} {
			if x := after[point]; x.State != audit.Redundant {
				t.Errorf("after, %s is %s: %s %q", point, x.State, x.Seen, x.Where)
			}
		}
		for _, point := range []string{"LoadBalancer", "Zones", "Secrets", "CNI"} {
			if x := after[point]; x.State != audit.Single {
				t.Errorf("after, %s is %s: %s", point, x.State, x.Seen)
			}
		}
	})
}

func migrateAll(t *testing.T, w *simulator.World) {
	t.Helper()
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
}

// TestOneHost: of a cluster of which nothing is known but its control-plane
// node, everything is found that the cluster tells.
func TestOneHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t, simulator.EtcdOnHostAddress)
		defer w.Close()
		first := w.Spec.ControlPlane.First
		w.Spec = cluster.Spec{Name: "root@cp1", ControlPlane: cluster.ControlPlane{First: first}}
		_, by := look(t, w)
		for _, point := range []string{"APIServer", "Etcd", "ControllerManager", "CoreDNS", "Kubeconfigs", "ConfigMaps"} {
			if by[point].State != audit.Single {
				t.Errorf("%s is %s: %s", point, by[point].State, by[point].Seen)
			}
		}
		if by["LoadBalancer"].State != audit.Adds {
			t.Errorf("the load balancer: %+v", by["LoadBalancer"])
		}
	})
}

// TestUnread: what was not read, or does not run, is not called redundant.
func TestUnread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		migrateAll(t, w)
		for _, node := range []string{"cp1", "cp2", "cp3"} {
			w.Mirror("kube-scheduler", node)
		}
		w.Unready("kube-scheduler-")
		w.Spec.ControlPlane.Joining = w.Spec.ControlPlane.Joining[:1]
		env := w.Connect()
		defer env.Close()
		r, err := audit.Run(t.Context(), env)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range r.Results {
			switch x.Point {
			case "Kubeconfigs", "CNI":
				if x.State != audit.Unknown || x.Seen != "none where it was looked; not read: cp3" {
					t.Errorf("%s is %s: %s", x.Point, x.State, x.Seen)
				}
			case "Scheduler":
				if x.State != audit.Single || x.Seen != "Ready on none" {
					t.Errorf("%s is %s: %s", x.Point, x.State, x.Seen)
				}
			}
		}
		if !slices.Equal(r.Unread, []string{"cp3: no spec says how to reach it"}) {
			t.Errorf("not read: %q", r.Unread)
		}
	})
}

// TestAnotherClient: somebody who writes to the API all the time makes it
// worth it; and a host that is not reached is told.
func TestAnotherClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t, simulator.EtcdOnHostAddress)
		defer w.Close()
		w.HoldLease("operators", "database-operator")
		env := w.Connect()
		defer env.Close()
		r, err := audit.Run(t.Context(), env)
		if err != nil {
			t.Fatal(err)
		}
		if r.Need.Advice != audit.WorthIt || !strings.Contains(strings.Join(r.Need.Reasons, " "), "1 programs outside") {
			t.Errorf("%+v", r.Need)
		}
	})
}

// TestEtcdClientsThatAreReady: who names the new members too goes on with them,
// and who does not is told.
func TestEtcdClientsThatAreReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t, simulator.EtcdOnHostAddress)
		defer w.Close()
		const old, all = "https://10.88.0.11:2379", "https://10.88.0.21:2379,https://10.88.0.22:2379,https://10.88.0.23:2379"
		w.PutConfigMap("kube-system", "calico-config", map[string]string{"etcd_endpoints": old + "," + all})
		if _, by := look(t, w); by["EtcdClients"].State != audit.Redundant {
			t.Errorf("%+v", by["EtcdClients"])
		}
		w.PutConfigMap("ops", "backup", map[string]string{"endpoints": old})
		if _, by := look(t, w); !slices.Equal(by["EtcdClients"].Where, []string{"ConfigMap ops/backup, endpoints"}) {
			t.Errorf("%+v", by["EtcdClients"])
		}
		// Where nobody says which the new members are, nobody is ready for them.
		w.Spec = cluster.Spec{Name: "root@cp1", ControlPlane: cluster.ControlPlane{First: w.Spec.ControlPlane.First}}
		if _, by := look(t, w); len(by["EtcdClients"].Where) != 2 {
			t.Errorf("%+v", by["EtcdClients"])
		}
	})
}
