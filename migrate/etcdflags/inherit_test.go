package etcdflags

import (
	"strings"
	"testing"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"

	"github.com/google/go-cmp/cmp"
)

// TestMetricsListenersMoveAlong: what is reachable at the old member has its
// equal at a new one, and nothing more is opened.
func TestMetricsListenersMoveAlong(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ name, old, want, reached string }{
		{"kubeadm's own", "http://127.0.0.1:2381", "http://127.0.0.1:2381", ""},
		{"none at all", "", "http://127.0.0.1:2381", ""},
		{"by its name", "http://localhost:9099", "http://127.0.0.1:9099", ""},
		{"IPv6 loopback", "http://[::1]:2381", "http://127.0.0.1:2381", ""},
		{"the node's address beside", "http://127.0.0.1:2381,http://10.88.0.11:2381", "http://127.0.0.1:2381,http://10.88.0.21:2381", "http://10.88.0.21:2381"},
		{"the node's address alone", "http://10.88.0.11:2381", "http://127.0.0.1:2381,http://10.88.0.21:2381", "http://10.88.0.21:2381"},
		{"all addresses", "http://0.0.0.0:2381", "http://127.0.0.1:2381,http://10.88.0.21:2381", "http://10.88.0.21:2381"},
		{"all addresses, IPv6", "http://[::]:2381", "http://127.0.0.1:2381,http://10.88.0.21:2381", "http://10.88.0.21:2381"},
		{"TLS", "https://0.0.0.0:2379,http://127.0.0.1:2381", "https://127.0.0.1:2379,https://10.88.0.21:2379,http://127.0.0.1:2381", "https://10.88.0.21:2379"},
		{"several", "http://127.0.0.1:2381, http://10.88.0.11:9979,https://192.0.2.7:9980", "http://127.0.0.1:2381,http://10.88.0.21:9979,https://10.88.0.21:9980", "http://10.88.0.21:9979 https://10.88.0.21:9980"},
		{"a socket", "unix:///run/etcd.sock", "http://127.0.0.1:2381", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			old := kube.Flags{{Name: "listen-metrics-urls", Value: x.old}}
			got, _ := MemberListeners(old, cluster.Host{Name: "e1", Address: "10.88.0.21"}).Get("listen-metrics-urls")
			if got != x.want {
				t.Errorf("got %s, want %s", got, x.want)
			}
			if got := strings.Join(ReachableListeners(old, "10.88.0.21"), " "); got != x.reached {
				t.Errorf("reached at %q, want %q", got, x.reached)
			}
		})
	}
	http := kube.Flags{{Name: "listen-client-http-urls", Value: "https://10.88.0.11:2382"}}
	if got, _ := MemberListeners(http, cluster.Host{Address: "10.88.0.21"}).Get("listen-client-http-urls"); got != "https://10.88.0.21:2382" {
		t.Errorf("HTTP: %s", got)
	}
}

// TestVariablesOfEtcd: those of flags count where there is no flag; those of
// Services and empty ones do not, since a flag that etcd does not know keeps it
// from starting.
func TestVariablesOfEtcd(t *testing.T) {
	t.Parallel()
	got := WithVariables(kube.Flags{{Name: "name", Value: "cp1"}}, []string{
		"ETCD_NAME=other", "ETCD_QUOTA_BACKEND_BYTES=8589934592", "ETCD_LISTEN_METRICS_URLS=", "ETCD_SERVICE_HOST=10.96.0.7", "ETCD_PORT=tcp://10.96.0.7:2379",
		"ETCD_UNSUPPORTED_ARCH=arm", "ETCD_VERSION=3.6.8", "ETCDCTL_API=3", "PATH=/bin", "ETCD_FORCE_NEW_CLUSTER=true", "",
	})
	want := kube.Flags{{Name: "name", Value: "cp1"}, {Name: "quota-backend-bytes", Value: "8589934592"}, {Name: "force-new-cluster", Value: "true"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestInherited: all but a member's own, of one that is there twice the last,
// and an instance's ID is the member's.
func TestInherited(t *testing.T) {
	t.Parallel()
	got := Inherited(kube.Flags{
		{Name: "snapshot-count", Value: "10000"}, {Name: "quota-backend-bytes", Value: "1"}, {Name: "snapshot-count", Value: "5000"},
		{Name: "tls-min-version", Value: "TLS1.3"}, {Name: "max-txn-ops", Value: "512"}, {Name: "log-level", Value: "warn"}, {Name: "log-outputs", Value: "/var/log/etcd.log"},
		{Name: "enable-log-rotation", Value: "true"}, {Name: "distributed-tracing-instance-id", Value: "cp1"}, {Name: "of-a-later-version", Value: "x"},
	}, cluster.Host{Name: "e1"})
	want := kube.Flags{{Name: "snapshot-count", Value: "5000"}, {Name: "quota-backend-bytes", Value: "1"}, {Name: "tls-min-version", Value: "TLS1.3"},
		{Name: "max-txn-ops", Value: "512"}, {Name: "log-level", Value: "warn"}, {Name: "distributed-tracing-instance-id", Value: "e1"}, {Name: "of-a-later-version", Value: "x"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
