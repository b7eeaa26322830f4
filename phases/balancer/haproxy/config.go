package haproxy

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const (
	// configFile is beside the host's own haproxy.cfg, in the folder that SELinux and
	// the package know, and is read by our unit alone.
	configFile = "/etc/haproxy/migrate-kube-apiserver.cfg"
	// Unit is our service.
	Unit     = "migrate-haproxy.service"
	unitFile = "/etc/systemd/system/" + Unit
	// runFolder is made by systemd, for root alone. Who may write to adminSocket
	// switches API servers off; lookSocket changes nothing, whatever it is told
	// ("level user").
	runFolder   = "/run/migrate-haproxy"
	adminSocket = runFolder + "/admin.sock"
	lookSocket  = runFolder + "/look.sock"

	proxyName = "kube-apiserver"
	// ownHeader is how a file begins that is ours.
	ownHeader = "# Written by migrate: "
)

// Server is an API server in the configuration.
type Server struct {
	Name    string // of the node
	Address string // host:port
	On      bool   // new connections are passed to it
}

// Config is what a load balancer's host passes where.
type Config struct {
	Port    int
	Servers []Server // in order
}

// Render writes HAProxy's configuration. Its choices, as HAProxy 2.6.12 was seen to
// do them:
//
//   - roundrobin, retries and redispatch: a connection that an API server refuses is
//     passed to the next one at once; with `balance source` it never is.
//   - inter 1s, timeout check 1s, fall 2: one that hangs gets no new connection after
//     2 s, one that ends after its first refused check and the next.
//   - verify none: the check carries no secret, and clients verify the certificate
//     themselves, since TLS is passed through. A file with the cluster's CA would turn
//     off all API servers at once when the CA is changed and the file is not.
//   - status 200,401: with --anonymous-auth=false the answer is 401 whether it is ready
//     or not; without the 401 no API server would ever be up. One that is not ready
//     says 500.
//   - no on-marked-down shutdown-sessions: an API server that ends in order listens no
//     more, and still answers what it was asked. It would be cut off by that.
//   - timeouts of a day: shorter ones cut idle watches, `exec` and `logs -f`
//     (kubernetes/kubeadm#2227). A client or a server that is gone is found by TCP
//     keepalive within a minute.
//   - noreuseport: two HAProxies may otherwise listen on the same port without a word,
//     and each gets half of the connections.
//   - no maxconn: HAProxy takes it from the limit of open files, and one that is given
//     and does not fit keeps it from starting.
//   - the description is what a running process says of itself, see digest.
func (c Config) Render() string {
	body := c.body()
	return ownHeader + "the Kubernetes API, passed through as TCP. " + Unit + " reads it.\n" +
		strings.Replace(body, "global\n", "global\n    description "+describe(body)+"\n", 1)
}

func (c Config) body() string {
	var b strings.Builder
	b.WriteString(`# A server is switched by the socket and here, with no reload: see docs/haproxy.md of migrate.
global
    user haproxy
    group haproxy
    chroot /var/lib/haproxy
    noreuseport
    stats socket ` + adminSocket + ` mode 600 level admin
    stats socket ` + lookSocket + ` mode 600 level user
    log stdout format raw local0 notice

defaults
    mode tcp
    log global
    balance roundrobin
    retries 3
    option redispatch 1
    timeout connect 2s
    timeout check 1s
    timeout queue 2s
    timeout client 24h
    timeout server 24h
    option clitcpka
    clitcpka-idle 30s
    clitcpka-intvl 10s
    clitcpka-cnt 3
    option srvtcpka
    srvtcpka-idle 30s
    srvtcpka-intvl 10s
    srvtcpka-cnt 3

`)
	fmt.Fprintf(&b, "frontend %[1]s\n    bind :%[2]d\n    default_backend %[1]s\n\nbackend %[1]s\n", proxyName, c.Port)
	b.WriteString(`    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host kubernetes
    http-check expect status 200,401
    default-server check check-ssl verify none inter 1s fastinter 500ms downinter 1s fall 2 rise 1
`)
	for _, s := range c.Servers {
		fmt.Fprintf(&b, "    server %s %s%s\n", s.Name, s.Address, map[bool]string{false: " disabled"}[s.On])
	}
	return b.String()
}

// describe is the description of a configuration: the same whatever is switched off.
// A process that has it has read this file, or one that differs in that alone.
func describe(body string) string {
	return fmt.Sprintf("migrate-kube-apiserver-%x", sha256.Sum256([]byte(disabled.ReplaceAllString(body, "$1"))))[:len("migrate-kube-apiserver-")+12]
}

// description is what a process with this configuration says of itself.
func (c Config) description() string { return describe(c.body()) }

var (
	disabled   = regexp.MustCompile(`(?m)^(    server \S+ \S+) disabled$`)
	serverLine = regexp.MustCompile(`(?m)^\s*server\s+(\S+)\s+(\S+:\d+)(.*)$`)
)

// Servers reads the API servers out of a file that Render wrote, or somebody by hand.
func Servers(text string) []Server {
	var out []Server
	for _, m := range serverLine.FindAllStringSubmatch(text, -1) {
		out = append(out, Server{Name: m[1], Address: m[2], On: !slices.Contains(strings.Fields(m[3]), "disabled")})
	}
	return out
}

// on are the addresses that are switched on.
func on(list []Server) []string {
	var out []string
	for _, s := range list {
		if s.On {
			out = append(out, s.Address)
		}
	}
	return out
}

// with is the list with one switched on or off.
func with(list []Server, address string, on bool) []Server {
	list = slices.Clone(list)
	for i := range list {
		if list[i].Address == address {
			list[i].On = on
		}
	}
	return list
}

// unitText is our service. HAProxy tells systemd when it listens (-Ws). However it
// ends, it comes back at once: a SIGTERM of somebody else's ends it with status 0 (seen
// with 2.6.12), which Restart=on-failure leaves down.
const unitText = `# Written by migrate: HAProxy for the Kubernetes API, beside haproxy.service.
[Unit]
Description=HAProxy for the Kubernetes API (migrate)
Documentation=man:haproxy(1)
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
RuntimeDirectory=migrate-haproxy
RuntimeDirectoryMode=0700
ExecStart=/usr/sbin/haproxy -Ws -f ` + configFile + ` -p ` + runFolder + `/pid
ExecReload=/usr/sbin/haproxy -Ws -f ` + configFile + ` -c -q
ExecReload=/bin/kill -USR2 $MAINPID
KillMode=mixed
SuccessExitStatus=143
Restart=always
RestartSec=100ms
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
`

// endingText is the service while it is undone: then HAProxy is not to come back.
func endingText() string { return strings.Replace(unitText, "Restart=always", "Restart=no", 1) }
