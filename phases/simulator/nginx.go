package simulator

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	nginxProgram = "nginx/1.22.1 --modules-path=/usr/lib/nginx/modules --with-stream=dynamic\n"
	nginxConf    = "/etc/nginx/nginx.conf"
	nginxModule  = "/usr/lib/nginx/modules/ngx_stream_module.so"
)

// DebianNginxConf is nginx.conf of Debian 12, its comments shortened.
const DebianNginxConf = `user www-data;
worker_processes auto;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
include /etc/nginx/modules-enabled/*.conf;

events {
	worker_connections 768;
	# multi_accept on;
}

http {

	##
	# Basic Settings
	##

	sendfile on;
	include /etc/nginx/mime.types;
	default_type application/octet-stream;
	include /etc/nginx/conf.d/*.conf;
	include /etc/nginx/sites-enabled/*;
}
`

// installNginx is what Debian's package does: files, and a started service.
func installNginx(h *Host) error {
	if h.has("/usr/sbin/nginx") {
		return nil
	}
	h.put("/usr/sbin/nginx", nginxProgram, 0o755, "root:root")
	h.put(nginxConf, DebianNginxConf, 0o644, "root:root")
	h.put("/etc/nginx/mime.types", "types {\n    text/html html;\n}\n", 0o644, "root:root")
	h.put("/etc/nginx/sites-available/default", "server {\n\tlisten 80 default_server;\n\troot /var/www/html;\n}\n", 0o644, "root:root")
	h.Folder("/etc/nginx/sites-enabled")
	h.Link("/etc/nginx/sites-enabled/default", "/etc/nginx/sites-available/default")
	h.Folder("/etc/nginx/modules-enabled")
	h.Folder("/etc/nginx/conf.d")
	h.put(packageUnits+"/nginx.service", "[Service]\nType=forking\nExecStart=/usr/sbin/nginx\n\n[Install]\nWantedBy=multi-user.target\n", 0o644, "root:root")
	h.Link(adminUnits+"/multi-user.target.wants/nginx.service", packageUnits+"/nginx.service")
	u, err := h.unit("nginx")
	if err != nil {
		panic(err) // its file was written above
	}
	if h.has("/usr/sbin/policy-rc.d") {
		return nil // invoke-rc.d(8): it denies the start, and that is no failure
	}
	if err := h.startUnit("nginx.service", u); err != nil {
		return fmt.Errorf("installed nginx package post-installation script subprocess returned error exit status 1: %w", err)
	}
	return nil
}

func installNginxStream(h *Host) {
	h.put(nginxModule, "\x7fELF", 0o644, "root:root")
	h.put("/etc/nginx/modules-enabled/50-mod-stream.conf", "load_module modules/ngx_stream_module.so;\n", 0o644, "root:root")
}

// nginx plays -t and -V.
func nginx(p program) error {
	switch strings.Join(p.args, " ") {
	case "-V":
		fmt.Fprintf(p.Stderr, "nginx version: nginx/1.22.1\nconfigure arguments: %s", strings.TrimPrefix(p.host.read("/usr/sbin/nginx"), "nginx/1.22.1 "))
		return nil
	case "-T":
		return dumpNginx(p)
	case "-t":
		if _, err := p.host.parseNginx(); err != nil {
			return fmt.Errorf("[emerg] %w\nnginx: configuration file %s test failed", err, nginxConf)
		}
		fmt.Fprintf(p.Stderr, "nginx: configuration file %s test is successful\n", nginxConf)
		return nil
	}
	return fmt.Errorf("%q is not played", p.args)
}

// reloadNginx makes the running nginx use its files; with bad files it goes on
// as before.
func (h *Host) reloadNginx() error {
	state, err := h.parseNginx()
	if err != nil {
		return fmt.Errorf("job for nginx.service failed: %w", err)
	}
	if h.hardware.No80 && slices.Contains(state.http, 80) {
		return errors.New("bind() to 0.0.0.0:80 failed (98: Address already in use)")
	}
	for port := range state.streams {
		if slices.Contains(h.hardware.Forbidden, port) {
			if !h.nginxActive() {
				return fmt.Errorf("bind() to 0.0.0.0:%d failed (13: Permission denied)", port)
			}
			const log = "/var/log/nginx/error.log" // it says so there, and goes on as before
			h.put(log, h.read(log)+fmt.Sprintf("2026/11/30 12:00:00 [emerg] 1#1: bind() to 0.0.0.0:%d failed (13: Permission denied)\n", port), 0o640, "www-data:adm")
			return nil
		}
	}
	h.nginx = state
	h.nginx.workers = time.Now()
	return nil
}

// nginxActive says whether nginx runs.
func (h *Host) nginxActive() bool {
	u := h.units["nginx.service"]
	return u != nil && u.state == "active"
}

// directive is a line or a block of a configuration.
type directive struct {
	words []string
	block []directive // nil for a line
}

var nginxToken = regexp.MustCompile(`#[^\n]*|"[^"]*"|[{};]|[^\s{};#"]+`)

// parseNginx reads nginx.conf with all that it includes.
func (h *Host) parseNginx() (nginxState, error) {
	text, err := h.includeNginx(h.read(nginxConf), 0)
	if err != nil {
		return nginxState{}, err
	}
	var tokens []string
	for _, t := range nginxToken.FindAllString(text, -1) {
		if !strings.HasPrefix(t, "#") {
			tokens = append(tokens, t)
		}
	}
	top, rest, err := parseBlock(tokens)
	if err != nil {
		return nginxState{}, err
	}
	if len(rest) > 0 {
		return nginxState{}, errors.New(`unexpected "}"`)
	}
	state := nginxState{loaded: text, streams: map[int][]string{}, most: 512}
	return state, h.checkNginx(top, &state)
}

var nginxInclude = regexp.MustCompile(`(?m)(^\s*|[{;][ \t]*)include\s+([^;\s]+);`)

// includeNginx puts the text of included files in their place. Paths are
// relative to the folder of nginx.conf.
func (h *Host) includeNginx(text string, depth int) (string, error) {
	if depth > 5 {
		return "", errors.New("includes are nested too deep")
	}
	var failed error
	out := nginxInclude.ReplaceAllStringFunc(text, func(line string) string {
		pattern := nginxInclude.FindStringSubmatch(line)[2]
		if !path.IsAbs(pattern) {
			pattern = path.Join(path.Dir(nginxConf), pattern)
		}
		var all strings.Builder
		all.WriteString(nginxInclude.FindStringSubmatch(line)[1])
		for _, file := range h.glob(pattern) {
			inner, err := h.includeNginx(h.read(file), depth+1)
			failed = errors.Join(failed, err)
			all.WriteString(inner)
		}
		if len(h.glob(pattern)) == 0 && !strings.Contains(pattern, "*") {
			failed = errors.Join(failed, fmt.Errorf("open() %q failed", pattern))
		}
		return all.String()
	})
	return out, failed
}

// glob lists files; only the last element may hold a star.
func (h *Host) glob(pattern string) []string {
	var out []string
	real := path.Join(h.Real(path.Dir(pattern)), path.Base(pattern))
	for name := range h.Entries() {
		if ok, err := path.Match(real, name); err == nil && ok && !strings.HasPrefix(path.Base(name), ".") {
			out = append(out, path.Join(path.Dir(pattern), path.Base(name)))
		}
	}
	return sorted(out)
}

func parseBlock(tokens []string) (list []directive, rest []string, err error) {
	var words []string
	for len(tokens) > 0 {
		t := tokens[0]
		tokens = tokens[1:]
		switch t {
		case ";":
			list, words = append(list, directive{words: words}), nil
		case "{":
			inner, after, err := parseBlock(tokens)
			if err != nil {
				return nil, nil, err
			}
			if len(after) == 0 {
				return nil, nil, errors.New(`unexpected end of file, expecting "}"`)
			}
			list, words, tokens = append(list, directive{words, append([]directive{}, inner...)}), nil, after[1:]
		case "}":
			return list, append([]string{t}, tokens...), nil
		default:
			words = append(words, t)
		}
	}
	if len(words) > 0 {
		return nil, nil, errors.New(`unexpected end of file, expecting ";" or "}"`)
	}
	return list, nil, nil
}

// checkNginx refuses what nginx refuses and collects what it listens on.
func (h *Host) checkNginx(top []directive, state *nginxState) error {
	seen := map[string]bool{}
	module := false
	for _, d := range top {
		name := d.words[0]
		switch name {
		case "load_module":
			if seen["events"] || seen["http"] || seen["stream"] {
				return errors.New(`"load_module" directive is specified too late`)
			}
			if path.Base(d.words[1]) == path.Base(nginxModule) {
				if !h.has(nginxModule) {
					return fmt.Errorf("dlopen() %q failed", nginxModule)
				}
				if module {
					return errors.New("module \"ngx_stream_module\" is already loaded")
				}
				module = true
			}
		case "worker_rlimit_nofile", "events", "http", "stream":
			if seen[name] {
				return fmt.Errorf("%q directive is duplicate", name)
			}
			seen[name] = true
		case "user", "worker_processes", "pid", "error_log", "mail":
		default:
			return fmt.Errorf("unknown directive %q", name)
		}
		for _, line := range d.block {
			if name == "events" && line.words[0] == "worker_connections" {
				most, err := strconv.Atoi(line.words[1])
				if err != nil {
					return fmt.Errorf("invalid number in %q", line.words)
				}
				state.most = most
			}
		}
		if name == "stream" && !module {
			return fmt.Errorf("unknown directive %q", name)
		}
		if name == "stream" {
			if err := checkStream(d.block, state); err != nil {
				return err
			}
		}
		if name == "http" {
			for _, server := range blocks(d.block, "server") {
				state.http = append(state.http, listens(server)...)
			}
		}
	}
	if !seen["events"] {
		return errors.New(`no "events" section in configuration`)
	}
	return nil
}

// checkStream wants every upstream that is passed to, with a server in it.
func checkStream(stream []directive, state *nginxState) error {
	upstreams := map[string][]string{}
	for _, u := range blocks(stream, "upstream") {
		for _, s := range u.block {
			if s.words[0] == "server" {
				upstreams[u.words[1]] = append(upstreams[u.words[1]], s.words[1])
			}
		}
		if len(upstreams[u.words[1]]) == 0 {
			return fmt.Errorf("no servers are inside upstream %q", u.words[1])
		}
	}
	for _, s := range blocks(stream, "server") {
		for _, line := range s.block {
			if line.words[0] != "proxy_pass" {
				continue
			}
			backends, ok := upstreams[line.words[1]]
			if !ok {
				return fmt.Errorf("host not found in upstream %q", line.words[1])
			}
			for _, port := range listens(s) {
				state.streams[port] = backends
			}
		}
	}
	return nil
}

func blocks(list []directive, name string) []directive {
	return slices.DeleteFunc(slices.Clone(list), func(d directive) bool { return d.words[0] != name || d.block == nil })
}

func listens(server directive) []int {
	var out []int
	for _, d := range server.block {
		if d.words[0] != "listen" {
			continue
		}
		if port, err := strconv.Atoi(d.words[1][strings.LastIndex(d.words[1], ":")+1:]); err == nil {
			out = append(out, port)
		}
	}
	return out
}

// routeNginx takes the backend with the fewest connections that are open: the
// first of them that answers.
func (w *World) routeNginx(at *Host, _ string, port int) (route, bool) {
	if !at.nginxActive() {
		return route{}, false
	}
	if slices.Contains(at.nginx.http, port) {
		return route{kind: website, host: at}, true
	}
	var best route
	fewest := -1
	for _, backend := range at.nginx.streams[port] {
		r, err := w.route(at, backend)
		if err != nil {
			continue
		}
		if n := w.held[r.host.Name()]; fewest < 0 || n < fewest {
			best, fewest = r, n
		}
	}
	best.balanced, best.by = true, at
	return best, fewest >= 0
}

// routeBalancer takes the next backend that answers: in turn, as many load
// balancers do.
func (w *World) routeBalancer() (route, error) {
	for range w.backends {
		w.turn++
		host, port, _ := strings.Cut(w.backends[w.turn%len(w.backends)], ":")
		at := w.byAddress(host)
		if at == nil {
			continue
		}
		host, port = at.dnat(host, port)
		number, err := strconv.Atoi(port)
		if at = w.byAddress(host); err != nil || at == nil {
			continue
		}
		if r, ok := w.routeAPI(at, host, number); ok {
			return r, nil
		}
	}
	return route{}, errRefused
}
