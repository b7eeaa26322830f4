// Package etcdflags knows the flags of the old etcd member: which of them a member on
// another host inherits, where it listens, and what of its data folder is its own.
package etcdflags

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
)

// DataDir is where a member on an etcd host has its data. It is not
// /var/lib/etcd: `kubeadm reset` on a host wipes that one
// (kubernetes/kubeadm#3225).
const DataDir = "/var/lib/etcd-external"

// The flags whose values name listeners that others than members use.
const (
	EtcdMetricsURLs = "listen-metrics-urls"
	EtcdHTTPURLs    = "listen-client-http-urls"
)

// metricsDefault is what kubeadm gives its etcd (cmd/kubeadm/app/phases/etcd:
// getEtcdCommand). A member has it as well where the old one has no other
// loopback listener for metrics.
const metricsDefault = "http://127.0.0.1:2381"

// ownEtcdFlags belong to one member or to its host: a new member has its own
// values. Listeners among them are made again by MemberListeners.
//
// The log goes to the journal on an etcd host, so what belongs to a file of
// log-outputs is left out with it: etcd refuses to start with log rotation and
// without one file (etcd: embed.ErrLogRotationInvalidLogOutput). The peer's
// client certificate is a second one where the first is for servers alone;
// kubeadm's peer certificates are for both.
var ownEtcdFlags = map[string]bool{
	"name": true, "data-dir": true, "wal-dir": true, "config-file": true, "version": true,
	"listen-peer-urls": true, "listen-client-urls": true, EtcdHTTPURLs: true, EtcdMetricsURLs: true,
	"advertise-client-urls": true, "initial-advertise-peer-urls": true,
	"cert-file": true, "key-file": true, "trusted-ca-file": true, "client-cert-auth": true,
	"client-cert-file": true, "client-key-file": true, "auto-tls": true,
	"peer-cert-file": true, "peer-key-file": true, "peer-trusted-ca-file": true, "peer-client-cert-auth": true,
	"peer-client-cert-file": true, "peer-client-key-file": true, "peer-auto-tls": true, "self-signed-cert-validity": true,
	"log-outputs": true, "enable-log-rotation": true, "log-rotation-config-json": true,
}

// birthEtcdFlags are read once, when a member is founded or joins, or must not
// be given to a member that joins: what they ask for is not what it shall do.
var birthEtcdFlags = map[string]bool{
	"initial-cluster": true, "initial-cluster-state": true, "initial-cluster-token": true,
	"force-new-cluster": true, "unsafe-no-fsync": true, "strict-reconfig-check": true,
	"proxy": true, "proxy-failure-wait": true, "proxy-refresh-interval": true, "proxy-dial-timeout": true, "proxy-write-timeout": true, "proxy-read-timeout": true,
}

// instanceEtcdFlags must differ between members (etcd: --help).
var InstanceEtcdFlags = map[string]bool{"distributed-tracing-instance-id": true, "experimental-distributed-tracing-instance-id": true}

// stays says that a flag of the old member is not given to a new one.
func StaysBehind(name string) bool {
	return ownEtcdFlags[name] || birthEtcdFlags[name] || strings.HasPrefix(name, "discovery")
}

// Inherited are the old member's flags that a new one on h gets: all
// but those that are a member's own. Flags that nobody here knows are among
// them, since the process runs with them and the program is the same. Of one
// that is there more than once the last counts, as in etcd.
func Inherited(old kube.Flags, h cluster.Host) kube.Flags {
	var out kube.Flags
	for _, f := range old {
		if StaysBehind(f.Name) || slices.ContainsFunc(out, func(have kube.Flag) bool { return have.Name == f.Name }) {
			continue
		}
		f.Value, _ = old.Get(f.Name)
		if InstanceEtcdFlags[f.Name] {
			f.Value = h.Name
		}
		out = append(out, f)
	}
	return out
}

// LeftBehind are those flags of the old member that a new one has no
// equal of, for the plan to say so.
func LeftBehind(old kube.Flags) kube.Flags {
	var out kube.Flags
	for _, f := range old {
		alone := slices.Contains([]string{"wal-dir", "client-cert-file", "client-key-file", "peer-client-cert-file", "peer-client-key-file", "auto-tls", "peer-auto-tls",
			"self-signed-cert-validity", "log-outputs", "enable-log-rotation", "log-rotation-config-json"}, f.Name)
		if alone || birthEtcdFlags[f.Name] && !strings.HasPrefix(f.Name, "initial-") || strings.HasPrefix(f.Name, "discovery") {
			out = append(out, f)
		}
	}
	return out
}

// MemberListeners are the flags for the listeners of a member on h that others
// than members and API servers use: metrics and health, and HTTP where that
// has listeners of its own. One that is reachable at the old member is a
// service that somebody uses, an alert for one; so the new member has its
// equal, at its own address, with the same port and scheme.
func MemberListeners(old kube.Flags, h cluster.Host) kube.Flags {
	metrics := listeners(old, EtcdMetricsURLs, h.Address)
	if !slices.ContainsFunc(metrics, func(u string) bool { return isLoopbackURL(u) }) {
		metrics = append([]string{metricsDefault}, metrics...)
	}
	out := kube.Flags{{Name: EtcdMetricsURLs, Value: strings.Join(metrics, ",")}}
	if http := listeners(old, EtcdHTTPURLs, h.Address); len(http) > 0 {
		out = append(out, kube.Flag{Name: EtcdHTTPURLs, Value: strings.Join(http, ",")})
	}
	return out
}

// ReachableListeners are the URLs, as others reach them at an address, of the
// listeners for metrics and HTTP that are not on the loopback alone.
func ReachableListeners(flags kube.Flags, address string) []string {
	var out []string
	for _, name := range []string{EtcdMetricsURLs, EtcdHTTPURLs} {
		out = append(out, slices.DeleteFunc(listeners(flags, name, address), isLoopbackURL)...)
	}
	return out
}

// listeners are a flag's URLs with address in place of the host's own. All
// addresses at once become the loopback and that one: what is on others of its
// networks is nobody's to open here. Sockets of the file system stay where
// they are.
func listeners(flags kube.Flags, name, address string) []string {
	text, _ := flags.Get(name)
	var out []string
	add := func(scheme, host, port string) {
		if u := scheme + "://" + net.JoinHostPort(host, port); !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	for raw := range strings.SplitSeq(text, ",") {
		u, err := url.Parse(strings.TrimSpace(raw))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Port() == "" {
			continue
		}
		if IsLoopback(u.Hostname()) || kube.EveryAddress(u.Hostname()) {
			add(u.Scheme, "127.0.0.1", u.Port())
		}
		if !IsLoopback(u.Hostname()) {
			add(u.Scheme, address, u.Port())
		}
	}
	return out
}

func isLoopbackURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && IsLoopback(u.Hostname())
}

// isEtcdFlag says whether a variable ETCD_… is a flag's. etcd only warns of
// one that is not, and does not start with a flag that it does not know. The
// kubelet gives pods variables of Services: ETCD_SERVICE_HOST and ETCD_PORT of
// one that is called etcd; and ETCD_UNSUPPORTED_ARCH has no flag.
func isEtcdFlag(name string) bool {
	return slices.Contains(strings.Fields(etcdFlagNames), name)
}

// etcdFlagNames are those of etcd 3.5 and 3.6 (server/embed and
// server/etcdmain, config.go), without those that it ignores.
const etcdFlagNames = `
advertise-client-urls auth-token auth-token-ttl auto-compaction-mode auto-compaction-retention auto-tls
backend-batch-interval backend-batch-limit backend-bbolt-freelist-type bcrypt-cost bootstrap-defrag-threshold-megabytes
cert-file cipher-suites client-cert-allowed-hostname client-cert-auth client-cert-file client-crl-file client-key-file
compact-hash-check-time compaction-batch-limit compaction-sleep-interval config-file corrupt-check-time cors
data-dir discovery discovery-cacert discovery-cert discovery-dial-timeout discovery-endpoints discovery-fallback
discovery-insecure-skip-tls-verify discovery-insecure-transport discovery-keepalive-time discovery-keepalive-timeout
discovery-key discovery-password discovery-proxy discovery-request-timeout discovery-srv discovery-srv-name discovery-token discovery-user
distributed-tracing-address distributed-tracing-instance-id distributed-tracing-sampling-rate distributed-tracing-service-name
downgrade-check-time election-timeout enable-distributed-tracing enable-grpc-gateway enable-log-rotation enable-pprof enable-v2
experimental-backend-bbolt-freelist-type experimental-bootstrap-defrag-threshold-megabytes experimental-compact-hash-check-enabled
experimental-compact-hash-check-time experimental-compaction-batch-limit experimental-compaction-sleep-interval
experimental-corrupt-check-time experimental-distributed-tracing-address experimental-distributed-tracing-instance-id
experimental-distributed-tracing-sampling-rate experimental-distributed-tracing-service-name experimental-downgrade-check-time
experimental-enable-distributed-tracing experimental-enable-lease-checkpoint experimental-enable-lease-checkpoint-persist
experimental-enable-v2v3 experimental-initial-corrupt-check experimental-max-learners experimental-memory-mlock
experimental-peer-skip-client-san-verification experimental-snapshot-catchup-entries experimental-stop-grpc-service-on-defrag
experimental-txn-mode-write-with-shared-buffer experimental-warning-apply-duration experimental-warning-unary-request-duration
experimental-watch-progress-notify-interval
feature-gates force-new-cluster grpc-keepalive-interval grpc-keepalive-min-time grpc-keepalive-timeout heartbeat-interval host-whitelist
initial-advertise-peer-urls initial-cluster initial-cluster-state initial-cluster-token initial-election-tick-advance
key-file listen-client-http-urls listen-client-urls listen-metrics-urls listen-peer-urls
log-format log-level log-outputs log-rotation-config-json logger
max-concurrent-streams max-learners max-request-bytes max-snapshots max-txn-ops max-wals memory-mlock metrics name
peer-auto-tls peer-cert-allowed-cn peer-cert-allowed-hostname peer-cert-file peer-client-cert-auth peer-client-cert-file peer-client-key-file
peer-crl-file peer-key-file peer-skip-client-san-verification peer-trusted-ca-file pre-vote
proxy proxy-dial-timeout proxy-failure-wait proxy-read-timeout proxy-refresh-interval proxy-write-timeout
quota-backend-bytes raft-read-timeout raft-write-timeout self-signed-cert-validity snapshot-catchup-entries snapshot-count
socket-reuse-address socket-reuse-port strict-reconfig-check tls-max-version tls-min-version trusted-ca-file
unsafe-no-fsync v2-deprecation wal-dir warning-apply-duration warning-unary-request-duration watch-progress-notify-interval`
