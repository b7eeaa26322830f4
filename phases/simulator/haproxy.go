package simulator

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/interp"
)

// haproxyUnit is a service that runs HAProxy with a file of its own.
const haproxyUnit = "migrate-haproxy.service"

// haproxyState is what a running HAProxy has in memory.
type haproxyState struct {
	loaded      string // the text it runs with
	description string
	sockets     map[string]string // its path to its level
	ports       []int
	servers     []haproxyServer
	turn        int // how many connections it has passed on
}

// haproxyServer is a server with the two of the bits of srv_admin_state that are
// played: 1 is forced maintenance, and 4 says that the file has it as disabled.
type haproxyServer struct {
	proxy, name, address string
	admin                int
}

func (s haproxyState) clone() haproxyState {
	s.servers = slices.Clone(s.servers)
	return s
}

// HAProxy is a world whose load balancers shall be HAProxy. lb2 has one already, which
// serves something else.
func HAProxy(o *config) { o.haproxy = true }

// installHAProxy is what Debian's package does: files, and a started service.
func installHAProxy(h *Host) {
	if h.has("/usr/sbin/haproxy") {
		return
	}
	h.put("/usr/sbin/haproxy", "\x7fELF", 0o755, "root:root")
	h.put("/etc/haproxy/haproxy.cfg", "global\n\tuser haproxy\n", 0o644, "root:root")
	h.put(packageUnits+"/haproxy.service", "[Service]\nType=notify\nExecStart=/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg\n\n[Install]\nWantedBy=multi-user.target\n", 0o644, "root:root")
	h.Link(adminUnits+"/multi-user.target.wants/haproxy.service", packageUnits+"/haproxy.service")
	u, err := h.unit("haproxy")
	if err != nil {
		panic(err) // its file was written above
	}
	if !h.has("/usr/sbin/policy-rc.d") {
		u.state, u.proc = "active", h.start("haproxy", "/usr/sbin/haproxy", []string{"/usr/sbin/haproxy", "-f", "/etc/haproxy/haproxy.cfg"})
	}
}

// haproxyWords are the words that a line may begin with, by section.
var haproxyWords = map[string][]string{
	"global": {"chroot", "daemon", "description", "group", "log", "noreuseport", "stats", "user"},
	"defaults": {"balance", "clitcpka-cnt", "clitcpka-idle", "clitcpka-intvl", "log", "mode", "option", "retries",
		"srvtcpka-cnt", "srvtcpka-idle", "srvtcpka-intvl", "timeout"},
	"frontend": {"bind", "default_backend", "mode"},
	"backend":  {"balance", "default-server", "http-check", "mode", "option", "server"},
}

var haproxyAddress = regexp.MustCompile(`^\S*:\d+$`)

// parseHAProxy reads a configuration and refuses what HAProxy refuses.
func parseHAProxy(text string) (haproxyState, error) {
	s := haproxyState{loaded: text, sockets: map[string]string{}}
	section, proxy := "", ""
	backends, wanted := map[string]bool{}, map[string]bool{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if haproxyWords[words[0]] != nil {
			section, proxy = words[0], ""
			if section == "frontend" || section == "backend" {
				if len(words) < 2 {
					return s, fmt.Errorf("[ALERT] parsing [%d] : %s needs a name", number, section)
				}
				proxy = words[1]
				backends[proxy] = backends[proxy] || section == "backend"
			}
			continue
		}
		if !slices.Contains(haproxyWords[section], words[0]) {
			return s, fmt.Errorf("[ALERT] parsing [%d] : unknown keyword '%s' in '%s' section", number, words[0], section)
		}
		if words[0] == "default_backend" {
			wanted[words[1]] = true
		}
		if err := s.take(proxy, words); err != nil {
			return s, fmt.Errorf("[ALERT] parsing [%d] : %w", number, err)
		}
	}
	for name := range wanted {
		if !backends[name] {
			return s, fmt.Errorf("[ALERT] config : unable to find required default_backend: '%s'", name)
		}
	}
	return s, nil
}

// take reads a line of a section.
func (s *haproxyState) take(proxy string, words []string) error {
	switch words[0] {
	case "description":
		s.description = strings.Join(words[1:], " ")
	case "stats":
		if i := slices.Index(words, "level"); i > 0 && words[1] == "socket" {
			s.sockets[words[2]] = words[i+1]
		}
	case "bind":
		port, err := strconv.Atoi(words[1][strings.LastIndex(words[1], ":")+1:])
		if err != nil {
			return fmt.Errorf("'bind' : missing port number in '%s'", words[1])
		}
		s.ports = append(s.ports, port)
	case "server":
		if len(words) < 3 || !haproxyAddress.MatchString(words[2]) {
			return fmt.Errorf("'server' : invalid address in %q", words)
		}
		if slices.ContainsFunc(s.servers, func(o haproxyServer) bool { return o.proxy == proxy && o.name == words[1] }) {
			return fmt.Errorf("backend '%s', another server named '%s' was already defined", proxy, words[1])
		}
		one := haproxyServer{proxy: proxy, name: words[1], address: words[2]}
		if slices.Contains(words, "disabled") {
			one.admin = 1 | 4
		}
		s.servers = append(s.servers, one)
	}
	return nil
}

// haproxy plays `haproxy -c -f FILE`.
func haproxy(p program) error {
	if len(p.args) < 3 || p.args[0] != "-c" || p.args[1] != "-f" {
		return fmt.Errorf("%q is not played", p.args)
	}
	text := p.host.read(p.args[2])
	if p.args[2] == "/dev/stdin" {
		data, err := io.ReadAll(p.Stdin)
		if err != nil {
			return err
		}
		text = string(data)
	}
	if _, err := parseHAProxy(text); err != nil {
		return err
	}
	p.out("Configuration file is valid\n")
	return nil
}

// haproxyActive says whether the HAProxy of a unit of its own runs.
func (h *Host) haproxyActive() bool { return h.active(haproxyUnit) }

var haproxyFile = regexp.MustCompile(` -f (\S+)`)

// loadHAProxy makes it run with its file. What the running one was told by its socket
// is forgotten then.
func (h *Host) loadHAProxy(u *unit) error {
	m := haproxyFile.FindStringSubmatch(strings.Join(option(u.text, "Service", "ExecStart"), " "))
	if m == nil || !h.has(m[1]) {
		return errors.New("Job for migrate-haproxy.service failed because the control process exited with error code") //nolint:staticcheck // systemd's words
	}
	state, err := parseHAProxy(h.read(m[1]))
	if err != nil {
		return err
	}
	for _, port := range state.ports {
		if h.nginxActive() && (slices.Contains(h.nginx.http, port) || h.nginx.streams[port] != nil) {
			return fmt.Errorf("cannot bind socket (Address already in use) for [0.0.0.0:%d]", port)
		}
	}
	h.haproxy = state
	return nil
}

// socat plays `socat -t5 - UNIX-CONNECT:SOCKET`, with HAProxy at the other end.
func socat(p program) error {
	path, ok := strings.CutPrefix(strings.Join(p.args, " "), "-t5 - UNIX-CONNECT:")
	if !ok {
		return fmt.Errorf("%q is not played", p.args)
	}
	level, there := p.host.haproxy.sockets[path]
	if !there || !p.host.haproxyActive() {
		return fmt.Errorf("connect(, AF=1 \"%s\", 22): No such file or directory", path)
	}
	data, err := io.ReadAll(p.Stdin)
	if err != nil {
		return err
	}
	for command := range strings.SplitSeq(strings.TrimSpace(string(data)), ";") {
		p.out("%s\n", p.host.haproxy.answer(level, command))
	}
	return nil
}

var haproxySet = regexp.MustCompile(`^set server ([^/ ]+)/(\S+) state (ready|maint)$`)

// answer is what HAProxy says to a command on a socket of a level. It ends with an
// empty line.
func (s *haproxyState) answer(level, command string) string {
	var b strings.Builder
	m := haproxySet.FindStringSubmatch(command)
	switch {
	case command == "show info":
		fmt.Fprintf(&b, "Name: HAProxy\nVersion: 2.6.12-1+deb12u4\ndescription: %s\n", s.description)
	case strings.HasPrefix(command, "show servers state "):
		b.WriteString("1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_port\n")
		for i, one := range s.servers {
			host, port := one.address[:strings.LastIndex(one.address, ":")], one.address[strings.LastIndex(one.address, ":")+1:]
			fmt.Fprintf(&b, "3 %s %d %s %s %d %d 1 %s\n", one.proxy, i+1, one.name, host, 2*(1-one.admin&1), one.admin, port)
		}
	case m != nil && level != "admin":
		b.WriteString("Permission denied\n")
	case m != nil:
		i := slices.IndexFunc(s.servers, func(one haproxyServer) bool { return one.proxy == m[1] && one.name == m[2] })
		if i < 0 {
			return "No such server.\n"
		}
		s.servers = slices.Clone(s.servers)
		s.servers[i].admin &^= 1
		if m[3] == "maint" {
			s.servers[i].admin |= 1
		}
	default:
		fmt.Fprintf(&b, "Unknown command: '%s', but maybe one of the following ones is a better match:\n", command)
	}
	return b.String()
}

// routeHAProxy takes the servers in turn, those that are ready: its checks have told
// it of the others.
func (w *World) routeHAProxy(at *Host, _ string, port int) (route, bool) {
	if !at.haproxyActive() || !slices.Contains(at.haproxy.ports, port) {
		return route{}, false
	}
	for range at.haproxy.servers {
		at.haproxy.turn++
		one := at.haproxy.servers[at.haproxy.turn%len(at.haproxy.servers)]
		if one.admin&1 != 0 {
			continue
		}
		r, err := w.route(at, one.address)
		if err != nil || r.kind != apiServer || w.notReady(r.host, r.pod) != nil {
			continue
		}
		r.balanced, r.by = true, at
		return r, true
	}
	return route{}, false
}

// killUnit plays `systemctl kill --kill-who=main --signal=USR1`: HAProxy listens no
// more, and ends when its connections have ended. systemd starts it again where the
// unit says so.
func (c systemctlCall) killUnit(name string) error {
	u := c.host.units[name]
	if name != haproxyUnit || c.signal != "USR1" || u == nil || u.state != "active" {
		return interp.ExitStatus(1)
	}
	c.host.stopUnit(u)
	c.host.haproxy = haproxyState{}
	if slices.Contains(option(u.text, "Service", "Restart"), "always") {
		return c.host.startUnit(name, u)
	}
	return nil
}

// specFile is the spec of a world with these options.
func (o config) specFile() string {
	switch {
	case o.external:
		return strings.Replace(SpecFile, "kind: nginx\n    hosts: [{name: lb1, address: 10.88.0.5}, {name: lb2, address: 10.88.0.6}]", "kind: external", 1)
	case o.haproxy:
		return strings.Replace(SpecFile, "kind: nginx", "kind: haproxy", 1)
	}
	return SpecFile
}
