package preflight_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"hamigrate/phases/preflight"
	"hamigrate/phases/simulator"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const etcdManifest = "/etc/kubernetes/manifests/etcd.yaml"

// etcdFlag puts a flag into the old member's manifest, in place of one of that
// name, and lets the kubelet act on it.
func etcdFlag(text string) func(*testing.T, *simulator.World) {
	return func(t *testing.T, w *simulator.World) {
		name, _, _ := strings.Cut(text, "=")
		root("cp1", `cat `+etcdManifest+` | grep -v '^    - `+name+`' | sed 's|^\(    - --name=cp1\)$|\1~    - `+text+`|' | tr '~' '\n' > /tmp/new; cp /tmp/new `+etcdManifest)(t, w)
		w.Pass(3 * time.Minute)
	}
}

// both arranges two things.
func both(arrange ...func(*testing.T, *simulator.World)) func(*testing.T, *simulator.World) {
	return func(t *testing.T, w *simulator.World) {
		for _, a := range arrange {
			a(t, w)
		}
	}
}

func put(resource string, obj simulator.Object) func(*testing.T, *simulator.World) {
	return func(_ *testing.T, w *simulator.World) { w.PutObject(resource, obj) }
}

func configMap(namespace, name, key, text string) func(*testing.T, *simulator.World) {
	return put("configmaps", &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{key: text}})
}

func mount(host, dir, kind, options string) func(*testing.T, *simulator.World) {
	return func(_ *testing.T, w *simulator.World) { w.Mount(host, dir, kind, options) }
}

// hangs is a folder below /opt whose server is away; who looked there before is
// there until the end.
func hangs(t *testing.T, w *simulator.World) {
	root("cp1", "mkdir -p /opt/nfs")(t, w)
	w.Hardware("cp1", func(h *simulator.Hardware) { h.Hangs = []string{"/opt/nfs"} })
	t.Cleanup(func() { time.Sleep(time.Minute) })
}

func backupJob() *batchv1.CronJob {
	c := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "ops", Name: "etcd-backup"}}
	c.Spec.JobTemplate.Spec.Template.Spec = corev1.PodSpec{HostNetwork: true, Containers: []corev1.Container{{Name: "x", Args: []string{"--endpoints=https://127.0.0.1:2379"}}}}
	return c
}

func scrapeService(name string, port int32, address string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name + "-abcde", Labels: map[string]string{"kubernetes.io/service-name": name}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: &port}}, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address}}}}
}

func etcdUseFaults() []fault {
	const b, n = preflight.Blocking, preflight.Warning
	return []fault{
		{"a rescue's flag", "EtcdRescueFlags", "cp1", b, []string{"--force-new-cluster is set in /etc/kubernetes/manifests/etcd.yaml", "sed -i '/--force-new-cluster/d'"}, etcdFlag("--force-new-cluster")},
		{"a rescue's flag with a value", "EtcdRescueFlags", "cp1", b, []string{"--force-new-cluster is set"}, etcdFlag("--force-new-cluster=true")},
		{"a rescue's variable", "EtcdRescueFlags", "cp1", b, []string{"--force-new-cluster is set", "ETCD_FORCE_NEW_CLUSTER"}, etcdFlag("--snapshot-count=10000~    env: [{name: ETCD_FORCE_NEW_CLUSTER, value: 'true'}]~    args:")},
		{"writes that are not synced", "EtcdRescueFlags", "cp1", b, []string{"--unsafe-no-fsync"}, etcdFlag("--unsafe-no-fsync=true")},
		{"no check of the quorum", "EtcdRescueFlags", "cp1", n, []string{"--strict-reconfig-check=false"}, etcdFlag("--strict-reconfig-check=false")},
		{"certificates of one name", "EtcdRescueFlags", "cp1", b, []string{"--peer-cert-allowed-cn=cp1", "certificate of e1"}, etcdFlag("--peer-cert-allowed-cn=cp1")},
		{"a file of the node", "EtcdRescueFlags", "cp1", b, []string{"--client-crl-file=/etc/kubernetes/crl.pem"}, etcdFlag("--client-crl-file=/etc/kubernetes/crl.pem")},
		{"no TLS between members", "EtcdRescueFlags", "cp1", b, []string{"without TLS"}, etcdFlag("--listen-peer-urls=http://10.88.0.11:2380")},

		{"metrics at the node's address", "EtcdClients", "cp1", n, []string{"reachable at http://10.88.0.11:2381", "scrape http://10.88.0.21:2381, http://10.88.0.22:2381, http://10.88.0.23:2381"}, etcdFlag("--listen-metrics-urls=http://127.0.0.1:2381,http://10.88.0.11:2381")},
		{"metrics at all addresses", "EtcdClients", "cp1", n, []string{"reachable at http://10.88.0.11:2381", "http://10.88.0.23:2381"}, etcdFlag("--listen-metrics-urls=http://0.0.0.0:2381")},
		{"metrics with TLS", "EtcdClients", "cp1", n, []string{"https://10.88.0.11:9981", "https://10.88.0.21:9981", "client certificate"}, etcdFlag("--listen-metrics-urls=https://10.88.0.11:9981")},
		{"their port is taken", "EtcdHosts", "e2", b, []string{"10.88.0.22:22", "something listens"}, etcdFlag("--listen-metrics-urls=http://10.88.0.11:22")},
		{"Calico's data", "EtcdClients", "cp1", b, []string{"ConfigMap kube-system/calico-config, etcd_endpoints", "https://10.88.0.21:2379"}, configMap("kube-system", "calico-config", "etcd_endpoints", "https://10.88.0.11:2379")},
		{"Calico's data, half done", "EtcdClients", "cp1", b, []string{"does not name https://10.88.0.22:2379,https://10.88.0.23:2379", "add https://10.88.0.22:2379,https://10.88.0.23:2379 to it"}, configMap("kube-system", "calico-config", "etcd_endpoints", "https://10.88.0.11:2379,https://10.88.0.21:2379")},
		{"Calico's data, done", "EtcdClients", "cp1", n, []string{"ConfigMap kube-system/calico-config, etcd_endpoints", "rollout restart daemonset calico-node"}, configMap("kube-system", "calico-config", "etcd_endpoints", "https://10.88.0.11:2379,https://10.88.0.21:2379,https://e2:2379,https://10.88.0.23:2379")},
		{"no ss", "EtcdClients", "cp1", n, []string{"not looked at: connections of cp1"}, hardware("cp1", func(h *simulator.Hardware) { h.Missing = []string{"ss"} })},
		{"a folder that hangs", "EtcdClients", "cp1", n, []string{"not looked at: files of cp1"}, hangs},
		{"a folder that hangs hides nothing else", "EtcdClients", "cp1", b, []string{"ConfigMap kube-system/calico-config, etcd_endpoints"}, both(configMap("kube-system", "calico-config", "etcd_endpoints", "https://10.88.0.11:2379"),
			hangs)},
		{"a scrape config", "EtcdClients", "cp1", n, []string{"ConfigMap monitoring/prometheus, prometheus.yml"}, configMap("monitoring", "prometheus", "prometheus.yml", "targets: ['cp1:2381']")},
		{"a backup as a CronJob", "EtcdClients", "cp1", n, []string{"CronJob ops/etcd-backup"}, put("cronjobs", backupJob())},
		{"a Service for metrics", "EtcdClients", "cp1", n, []string{"Service kube-system/kube-etcd, leads to 10.88.0.11:2381"}, put("endpointslices", scrapeService("kube-etcd", 2381, "10.88.0.11"))},
		{"a Secret", "EtcdClients", "cp1", n, []string{"Secret default/backup, config"}, func(_ *testing.T, w *simulator.World) {
			w.PutSecret("backup", "config", "endpoint: https://10.88.0.11:2379 password: secret")
		}},
		{"a backup by cron", "EtcdClients", "cp1", n, []string{"cp1:/etc/cron.d/backup"}, root("cp1", "mkdir -p /etc/cron.d; echo '0 3 * * * root etcdctl snapshot save /x # secret' > /etc/cron.d/backup")},
		{"a script that cron names", "EtcdClients", "cp1", n, []string{"cp1:/srv/tools/save.sh"}, root("cp1", "mkdir -p /etc/cron.d /srv/tools; echo '0 3 * * * root /srv/tools/save.sh' > /etc/cron.d/backup; echo 'curl https://10.88.0.11:2379/x' > /srv/tools/save.sh")},

		{"another cluster's data", "EtcdData", "e1", b, []string{"/var/lib/etcd-external/member holds a member's data", "mv /var/lib/etcd-external/member"}, root("e1", "mkdir -p /var/lib/etcd-external/member/wal")},
		{"a proxy's data", "EtcdData", "e1", b, []string{"/var/lib/etcd-external/proxy"}, root("e1", "mkdir -p /var/lib/etcd-external/proxy")},
		{"a link", "EtcdData", "e1", b, []string{"is a link to", "mount --bind"}, root("e1", "mkdir -p /data; ln -s /data /var/lib/etcd-external")},
		{"a folder in memory", "EtcdData", "e3", b, []string{"in memory"}, mount("e3", "/var/lib/etcd-external", "tmpfs", "rw")},
		{"a folder over the network", "EtcdData", "e3", b, []string{"nfs4", "local disk"}, mount("e3", "/var/lib/etcd-external", "nfs4", "rw")},
		{"a read-only disk", "EtcdData", "e3", b, []string{"read-only", "remount,rw"}, mount("e3", "/var/lib/etcd-external", "ext4", "ro,relatime")},
		{"a full disk", "EtcdData", "e3", b, []string{"0 MiB left"}, both(mount("e3", "/var/lib/etcd-external", "ext4", "rw"), hardware("e3", func(h *simulator.Hardware) { h.Free["/var/lib/etcd-external"] = 10 }))},
		{"a mount inside", "EtcdData", "e3", b, []string{"mount point", "/var/lib/etcd-external/member"}, mount("e3", "/var/lib/etcd-external/member", "ext4", "rw")},
		{"a log elsewhere", "EtcdData", "cp1", b, []string{"--wal-dir=/var/lib/etcd-wal"}, etcdFlag("--wal-dir=/var/lib/etcd-wal")},
		{"data that is a mount", "EtcdData", "cp1", b, []string{"/var/lib/etcd/member is a mount point"}, mount("cp1", "/var/lib/etcd/member", "xfs", "rw")},
	}
}

// TestEtcdUse: what the old etcd has of a rescue, who uses it, and what is in
// the data folders is found and told before phase 2, without what Secrets and
// files hold.
func TestEtcdUse(t *testing.T) {
	t.Parallel()
	const b = preflight.Blocking
	for _, f := range etcdUseFaults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			r := look(t, preflight.Options{Phase: 2, LookOnly: true}, f.arrange)
			i := slices.IndexFunc(bad(r), func(x preflight.Result) bool {
				return x.Check == f.check && x.Host == f.host && x.Severity == f.severity && strings.Contains(x.Seen+" "+x.Remedy, f.words[0])
			})
			if i < 0 {
				t.Fatalf("%s on %s was not found; what was: %+v", f.check, f.host, bad(r))
			}
			x := bad(r)[i]
			for _, word := range f.words {
				if !strings.Contains(x.Seen+" "+x.Remedy, word) {
					t.Errorf("%q is not in: %s: %s", word, x.Seen, x.Remedy)
				}
			}
			for _, x := range r.Results {
				if x.Check == "EtcdClients" && x.Severity == b && f.severity != b {
					t.Errorf("it stands in the way: %+v", x)
				}
				if strings.Contains(x.Seen+x.Remedy, "secret") {
					t.Errorf("it tells what a file or a Secret holds: %s", x.Seen)
				}
			}
		})
	}
}

// TestHarmless: none of these is anything to talk about.
func TestHarmless(t *testing.T) {
	t.Parallel()
	for name, arrange := range map[string]func(*testing.T, *simulator.World){
		"a disk of its own":                mount("e1", "/var/lib/etcd-external", "ext4", "rw,noexec"),
		"an empty folder of root's":        root("e1", "install -d -m 0700 -o root -g root /var/lib/etcd-external /var/lib/etcd-external/lost+found"),
		"a switch that is off":             etcdFlag("--force-new-cluster=false"),
		"the state of the cluster's birth": etcdFlag("--initial-cluster-state=new"),
		"Calico's own etcd":                configMap("kube-system", "calico-config", "etcd_endpoints", "http://10.96.232.136:6666"),
		"a scrape config of all members":   configMap("monitoring", "prometheus", "prometheus.yml", "targets: ['cp1:2381', 'e1:2381', 'e2:2381', 'e3:2381']"),
		"a script that knows all members":  root("cp1", "mkdir -p /etc/cron.d; echo '0 3 * * * root etcdctl --endpoints=10.88.0.11:2379,10.88.0.21:2379,10.88.0.22:2379,10.88.0.23:2379 snapshot save /x' > /etc/cron.d/backup"),
		"another port":                     configMap("ops", "x", "y", "10.88.0.11:23790 10.88.0.110:2379"),
		"the old data's own disk":          mount("cp1", "/var/lib/etcd", "xfs", "rw"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, x := range bad(look(t, preflight.Options{Phase: 2, LookOnly: true}, arrange)) {
				if slices.Contains([]string{"EtcdRescueFlags", "EtcdClients", "EtcdData", "EtcdHosts"}, x.Check) {
					t.Errorf("%+v", x)
				}
			}
		})
	}
}

// TestSecondPreflight: what another run of a moment ago still listens with is
// waited for, and neither taken for a program nor in the way.
func TestSecondPreflight(t *testing.T) {
	t.Parallel()
	r := look(t, preflight.Options{}, root("e3", `systemd-run --quiet --collect --unit=migrate-preflight-another --property=RuntimeMaxSec=10 /usr/bin/systemd-socket-activate --accept -l 10.88.0.23:2379 -l 10.88.0.23:2380 /bin/true`))
	for _, x := range bad(r) {
		if x.Host == "e3" {
			t.Errorf("%+v", x)
		}
	}
}

// TestSecondPreflightThatStays: a wait for another run has an end also where
// systemd is slow, and its host is looked at all the same.
func TestSecondPreflightThatStays(t *testing.T) {
	t.Parallel()
	r := look(t, preflight.Options{Phase: 2, LookOnly: true}, both(hardware("e3", func(h *simulator.Hardware) { h.Units = 4 * time.Second }),
		root("e3", `systemd-run --quiet --collect --unit=migrate-preflight-another --property=RuntimeMaxSec=3600 /usr/bin/systemd-socket-activate --accept -l 10.88.0.23:2379 /bin/true`)))
	seen := false
	for _, x := range r.Results {
		seen = seen || x.Host == "e3" && x.Check == "EtcdData" && x.Severity == preflight.OK
		if x.Host == "e3" && x.Check == "Login" && x.Severity != preflight.OK {
			t.Errorf("%+v", x)
		}
	}
	if !seen {
		t.Error("e3 was not looked at")
	}
}
