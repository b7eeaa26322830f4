package nginx

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// StreamFile is the file of our own that holds everything this tool tells
// nginx. Debian's nginx.conf includes its folder in the main context, after
// the modules' own files (50-…), so no file of somebody else is touched.
const StreamFile = "/etc/nginx/modules-enabled/" + ownName + ".conf"

// ownHeader is how a file begins that is ours.
const ownHeader = "# Written by migrate: "

// Upstream is one list of API servers behind one port.
type Upstream struct {
	Port     int
	Backends []string // host:port, in order
	// Bare leaves out the stream block: the file is included in one.
	Bare bool
	// Nofile, when not 0, raises the workers' limit of open files: systemd's
	// default of 1024 is below two a client on a busy cluster.
	Nofile int
}

const upstreamName = "migrate_kube_apiserver"

// Render writes the nginx configuration. Its choices:
//
//   - proxy_timeout 24h: the default of 10 minutes cuts idle `exec` and
//     `logs -f`; dead clients are found by TCP keepalive instead.
//   - proxy_connect_timeout 2s and proxy_next_upstream: an API server that
//     does not accept is passed over for the next, before a byte was sent.
//   - worker_shutdown_timeout stays unset: setting it cuts every watch on
//     each reload.
func (u Upstream) Render() string {
	var b strings.Builder
	b.WriteString(ownHeader + "the Kubernetes API, passed through as TCP.\n# Change it with migrate, or take its line of backends as yours and edit at will.\n")
	if u.Nofile > 0 && !u.Bare {
		fmt.Fprintf(&b, "worker_rlimit_nofile %d;\n", u.Nofile)
	}
	indent := "    "
	if u.Bare {
		indent = ""
	} else {
		b.WriteString("stream {\n")
	}
	line := func(format string, args ...any) { b.WriteString(indent + fmt.Sprintf(format, args...) + "\n") }
	line("upstream %s {", upstreamName)
	line("    least_conn;")
	for _, backend := range u.Backends {
		line("    server %s max_fails=1 fail_timeout=5s;", backend)
	}
	line("}")
	line("server {")
	line("    listen %d so_keepalive=30s:10s:3;", u.Port)
	line("    proxy_pass %s;", upstreamName)
	line("    proxy_connect_timeout 2s;")
	line("    proxy_next_upstream on;")
	line("    proxy_timeout 24h;")
	line("    proxy_socket_keepalive on;")
	line("}")
	if !u.Bare {
		b.WriteString("}\n")
	}
	return b.String()
}

var hostAndPort = regexp.MustCompile(`^\S+:\d+$`)

// Backends reads the list out of a file that Render wrote, or somebody by hand:
// as sameToNginx, by what nginx reads, on however few lines that stands. A file
// that is cut short still says what it said so far.
func Backends(conf []byte) []string {
	var out, words []string
	for r := (&reading{text: string(conf)}); ; {
		word, kind := r.token()
		switch kind {
		case 0:
			return out
		case 'w':
			words = append(words, word)
		default:
			words = nil
		}
		if len(words) == 3 && words[0] == "server" && hostAndPort.MatchString(words[1]) && strings.HasPrefix(words[2], "max_fails") {
			out = append(out, words[1])
		}
	}
}

// WithBackend returns the list with one more, in order of arrival.
func WithBackend(list []string, backend string) []string {
	if slices.Contains(list, backend) {
		return list
	}
	return append(slices.Clone(list), backend)
}
