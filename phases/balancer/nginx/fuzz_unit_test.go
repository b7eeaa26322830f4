package nginx

import (
	"strings"
	"testing"

	"hamigrate/internal/within"
)

// spelled writes directives so that nginx reads the same words.
func spelled(b *strings.Builder, list []directive) {
	for _, d := range list {
		for _, w := range d.words {
			b.WriteString(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `" `)
		}
		if d.block == nil {
			b.WriteString(";\n")
			continue
		}
		b.WriteString("{\n")
		spelled(b, d.block)
		b.WriteString("}\n")
	}
}

// FuzzNginxConf: what is read of a file and written again is read the same, and
// our edits of it are seen in it.
func FuzzNginxConf(f *testing.F) {
	f.Add("user www-data;\nevents { worker_connections 768; # x\n}\nstream {\n  include /etc/nginx/stream.d/*.conf;\n}\n", 5000)
	f.Add(Upstream{Port: 6443, Backends: []string{"192.0.2.11:6443", "192.0.2.12:6443"}, Nofile: 65536}.Render(), 1)
	f.Add("a \"b c\\\"\" 'd' $x{y} \\; e#f;}{ # \n", 0)
	f.Add("x_by_lua_block { a = '}' }\n", 0)
	f.Add(strings.Repeat("a{", 300), 10)
	f.Add("events{}", 1<<62+1)
	f.Add("worker_connections 99999999999999999999;", 2)
	f.Fuzz(func(t *testing.T, text string, need int) {
		within.Bounds(t, func() {
			list := parse("/etc/nginx/nginx.conf", text)
			var b strings.Builder
			spelled(&b, list)
			var again strings.Builder
			spelled(&again, parse("/etc/nginx/nginx.conf", b.String()))
			if again.String() != b.String() && !strings.Contains(text, "_by_lua_block") {
				t.Errorf("written and read again it is\n%q, and was\n%q", again.String(), b.String())
			}
			for _, backend := range Backends([]byte(text)) {
				if !strings.Contains(text, backend) && !strings.ContainsAny(text, "\\\"'") {
					t.Errorf("the backend %q is not in it", backend)
				}
			}
			if !sameToNginx(text, text) {
				t.Error("it is not the same as itself")
			}
			raised, err := raiseConnections([]byte(text), need)
			if err == nil && !strings.Contains(text, "worker_connections") && configuredConnections(raised) < need {
				t.Errorf("the limit is %d after it was raised to %d", configuredConnections(raised), need)
			}
			if l, err := layoutOf("nginx -T --with-stream", list, 6443); err == nil && l.file == "" {
				t.Error("our file has no place")
			}
		})
	})
}

// FuzzNginxDump: what `nginx -T` prints is read within bounds, whatever files
// include whatever others.
func FuzzNginxDump(f *testing.F) {
	file := func(name, text string) string { return dumpedFile + name + ":\n" + text + "\n" }
	f.Add(file("/etc/nginx/nginx.conf", "include /etc/nginx/modules-enabled/*.conf;\nevents {}\n") + file("/etc/nginx/modules-enabled/50-mod-stream.conf", "load_module modules/ngx_stream_module.so;"))
	f.Add(file("/etc/nginx/nginx.conf", "include nginx.conf; include nginx.conf;"))
	f.Add(file("/etc/nginx/nginx.conf", "include a; include a;") + file("/etc/nginx/a", "include nginx.conf;\ninclude a;"))
	f.Add(file("/etc/nginx/nginx.conf", strings.Repeat("a{", 100_000)))
	f.Add(file("/etc/nginx/nginx.conf", strings.Repeat("a;\n", 100_000)))
	f.Add(file("/etc/nginx/nginx.conf", "stream { include [.conf; include *[; server { listen [::1]:6443; listen unix:/x; listen; } }"))
	f.Fuzz(func(t *testing.T, dump string) {
		within.Bounds(t, func() {
			top := parseDump(dump)
			if top == nil && strings.Contains(dump, "\n"+dumpedFile+"/x:\n") {
				t.Error("a file is lost")
			}
			if l, err := layoutOf("", top, 6443); err == nil && l.file == "" {
				t.Error("our file has no place")
			}
		})
	})
}
