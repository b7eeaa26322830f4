package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// inventory is what makes a host what it is: its files with their content,
// mode and owner, the services and sockets that run or are enabled, what it
// listens on, the tables of its firewall, and the arguments of the
// control-plane processes. One fact a line.
func inventory(t *testing.T, h host) string {
	t.Helper()
	return h.mustWithin(t, attemptTimeout*2, `
dirs='/etc /opt /root /srv /usr/local /usr/share/nginx /usr/share/zoneinfo /var/www /var/lib/migrate /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env'
find $dirs -xdev -type f -printf '%p\0' 2>/dev/null | sort -z | xargs -0 -r sha256sum 2>/dev/null | awk '{print "content", $2, $1}'
find $dirs -xdev -printf '%p %y %m %U:%G %l\n' 2>/dev/null | sort | sed 's/^/file /'
find /var/lib/etcd /var/lib/etcd-external /var/lib/etcd-external/lost+found -maxdepth 0 -printf 'file %p %y %m %U:%G\n' 2>/dev/null
systemctl list-units --type=service --type=socket --type=timer --state=active --plain --no-legend | awk '{print "active", $1}' | grep -v -e ' user' -e ' sshd\?@' -e ' session-' | { [ -e /etc/kubernetes/kubelet.conf ] && cat || grep -vx 'active kubelet.service'; } | sort
systemctl list-unit-files --state=enabled --plain --no-legend | awk '{print "enabled", $1}' | sort
ss -Hltn | awk '{print "listens", $4}' | grep -v -E ':(3[2-9]|[45][0-9]|6[0-5])[0-9]{3}$' | sort -u
nft list tables 2>/dev/null | grep -v -e kube-proxy -e ' filter$' -e ' nat$' -e ' mangle$' | sed 's/^/firewall /' | sort
iptables-save 2>/dev/null | grep -i migrate | sed 's/^/firewall /'
for p in etcd kube-apiserver kube-controller-manager kube-scheduler; do for pid in $(pgrep -x "$(echo $p | cut -c1-15)"); do tr '\0' '\n' </proc/$pid/cmdline | sed "s/^/argument $p /"; done; done | sort
true`)
}

// inventories are those of all hosts.
func inventories(t *testing.T, p *playground) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, h := range p.hosts {
		all[name] = inventory(t, h)
	}
	return all
}

// staying is a fact about some hosts that may differ after the way back.
type staying struct {
	hosts  string // regular expression
	fact   string // regular expression, without the sign of the difference
	reason string
}

// staysOnHosts is the whole list of what the way back leaves on hosts, or
// what was done there by others than the program.
func staysOnHosts() []staying {
	return []staying{
		{".*", `(content|file) /var/lib/migrate(/.*)? `, "copies of files of before; the program says so and removes none"},
		{".*", `(content|file) /etc/(ld\.so\.cache|\.pwd\.lock|passwd-|group-|shadow-|gshadow-|subuid-|subgid-|mtab|resolv\.conf) `, "the system's own copies of its files"},
		{"cp1", `(content|file) /etc/kubernetes/pki/apiserver\.(crt|key) `, "the names added to the serving certificate stay: they harm nobody, and a client may still use them"},
		{"cp1", `content /etc/kubernetes/audit/logs/`, "the API server's log, which grows all the time"},
		{"cp1", `file /etc/kubernetes/audit/logs/migrate-twin-audit\.log `, "what the second API server recorded: nobody throws audit records away"},
		{"cp[123]|w[123]", `(content|file) /etc/cni(/.*)? `, "the network plugin's, written when a node joins"},
		{".*", `active (apt|dpkg|fstrim|e2scrub|logrotate|man-db|systemd-tmpfiles|phpsessionclean|systemd-hostnamed|systemd-timedated)\S*$`, "the system's own work"},
		{"cp[23]", `file /etc/kubernetes/(manifests|pki) d `, "empty folders that kubeadm reset leaves (kubeadm: cmd/phases/reset/cleanupnode.go, it removes what is in them)"},
		{"w3", `.*`, "joined by hand between the way there and the way back"},
	}
}

// compareInventories fails for every fact that is not what it was, and that
// no exception names.
func compareInventories(t *testing.T, was, is map[string]string) {
	t.Helper()
	total := 0
	for _, name := range sortedKeys(was) {
		if n := strings.Count(was[name], "\n"); n < 100 {
			t.Fatalf("only %d facts of %s were kept: the comparison would prove nothing", n, name)
		} else {
			total += n
		}
		for _, line := range differingLines(was[name], is[name]) {
			if !stays(name, line[2:]) {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
	t.Logf("%d facts of %d hosts compared", total, len(was))
}

func stays(name, fact string) bool {
	for _, e := range staysOnHosts() {
		if regexp.MustCompile("^("+e.hosts+")$").MatchString(name) && regexp.MustCompile("^"+e.fact).MatchString(fact+" ") {
			return true
		}
	}
	return false
}

// String names an exception for a log.
func (s staying) String() string { return fmt.Sprintf("%s: %s: %s", s.hosts, s.fact, s.reason) }
