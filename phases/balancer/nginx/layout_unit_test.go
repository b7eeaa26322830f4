package nginx

import (
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
)

// dump is what `nginx -T` prints of nginx.conf and other files, as pairs.
func dump(conf string, others ...string) string {
	out := dumpedFile + nginxConf + ":\n" + conf + "\n"
	for i := 0; i < len(others); i += 2 {
		out += dumpedFile + others[i] + ":\n" + others[i+1] + "\n"
	}
	return out
}

// debianProgram is what nginx -V says on Debian, with the module on the disk.
const debianProgram = "nginx version: nginx/1.22.1\nconfigure arguments: --modules-path=/usr/lib/nginx/modules --with-stream_ssl_module --with-stream=dynamic\n@@module\n"

// moduleConf is the packages' file that loads the module.
const moduleConf = "/etc/nginx/modules-enabled/50-mod-stream.conf"

// TestLayout: where our file belongs, in configurations as people write them.
func TestLayout(t *testing.T) {
	t.Parallel()
	const load = "load_module modules/ngx_stream_module.so;"
	const stream = "stream {\n    upstream a {\n        server 1.2.3.4:5;\n    }\n    include /etc/nginx/stream.d/*.conf;\n}\n"
	const own = "/etc/nginx/stream.d/95-migrate-kube-apiserver.conf"
	with := []string{moduleConf, load}
	for name, tt := range map[string]struct {
		conf   string
		others []string
		want   layout
		block  string // where the stream block is
	}{
		"Debian's":                {conf: debian, others: with, want: layout{file: StreamFile}},
		"a stream":                {conf: debian + stream, others: with, want: layout{file: own, bare: true}},
		"one line":                {conf: debian + "  stream { include /etc/nginx/stream.d/*.conf; }\n", others: with, want: layout{file: own, bare: true}},
		"a relative folder":       {conf: debian + strings.Replace(stream, "/etc/nginx/stream.d", "stream.d", 1), others: with, want: layout{file: own, bare: true}},
		"any name":                {conf: debian + strings.Replace(stream, "*.conf", "*", 1), others: with, want: layout{file: own, bare: true}},
		"another ending":          {conf: debian + strings.Replace(stream, "*.conf", "*.stream", 1), others: with, want: layout{file: strings.TrimSuffix(own, "conf") + "stream", bare: true}},
		"a name with a beginning": {conf: debian + strings.Replace(stream, "*.conf", "k8s-*.conf", 1), others: with, want: layout{file: "/etc/nginx/stream.d/k8s-95-migrate-kube-apiserver.conf", bare: true}},
		"ours is there by that name": {conf: debian + strings.Replace(stream, "*.conf", "k8s-*.conf", 1),
			others: append([]string{"/etc/nginx/stream.d/k8s-95-migrate-kube-apiserver.conf", "server { listen 6443; }\n"}, with...), want: layout{file: "/etc/nginx/stream.d/k8s-95-migrate-kube-apiserver.conf", bare: true}},
		"quoted":                    {conf: debian + strings.Replace(stream, "/etc/nginx/stream.d/*.conf", `"/etc/nginx/stream.d/*.conf"`, 1), others: with, want: layout{file: own, bare: true}},
		"include commented":         {conf: debian + strings.Replace(stream, "include", "# include", 1), others: with, block: nginxConf + ":15"},
		"an include of one file":    {conf: debian + "stream { include /etc/nginx/one.conf; }\n", others: append([]string{"/etc/nginx/one.conf", "server { listen 1; }"}, with...), block: nginxConf + ":15"},
		"an include in a server":    {conf: debian + "stream { server { listen 1; include /etc/nginx/x/*.conf; } }\n", others: with, block: nginxConf + ":15"},
		"in an included file":       {conf: debian + "include /etc/nginx/tcpconf.d/*;\n", others: append([]string{"/etc/nginx/tcpconf.d/kubernetes.conf", "\nstream { server { listen 8443; } }\n"}, with...), block: "/etc/nginx/tcpconf.d/kubernetes.conf:2"},
		"in modules-enabled":        {conf: debian, others: append([]string{"/etc/nginx/modules-enabled/99-k8s.conf", "stream { server { listen 8443; } }\n"}, with...), block: "/etc/nginx/modules-enabled/99-k8s.conf:1"},
		"included, with an include": {conf: debian + "include tcp/*;\n", others: append([]string{"/etc/nginx/tcp/k8s", "stream { include /etc/nginx/stream.d/*.conf; }\n"}, with...), want: layout{file: own, bare: true}},
		"ours is there":             {conf: debian, others: append([]string{StreamFile, "stream { }\n"}, with...), want: layout{file: StreamFile}},
		"mail beside it":            {conf: debian + "mail { server { listen 25; } }\n", others: with, want: layout{file: StreamFile, listens: []int{25}}},
		"braces in quotes":          {conf: debian + "http { log_format m '{\"a\":\"$status\"}'; map $uri $x { ~^/[a-z]+$ 1; } } # }{ stream {\n", others: with, want: layout{file: StreamFile}},
		"a variable in braces":      {conf: debian + "http { log_format m ${uri}x; server { listen 81; } }\n" + stream, others: with, want: layout{file: own, bare: true, listens: []int{81}}},
		"Lua":                       {conf: debian + "http { init_by_lua_block { local n = #t; if n then s = { 1 } end } }\n" + stream, others: with, want: layout{file: own, bare: true}},
		"stream commented":          {conf: debian + "#" + strings.ReplaceAll(strings.TrimSpace(stream), "\n", "\n#") + "\n", others: with, want: layout{file: StreamFile}},
		"nofile set":                {conf: "worker_rlimit_nofile 1000;\n" + debian, others: with, want: layout{file: StreamFile, nofile: -1}},
		"the port is taken":         {conf: debian + "stream { include s/*; server { listen 443; listen [::]:6443; } }\n", others: with, want: layout{file: "/etc/nginx/s/" + ownName + ".conf", bare: true, holds: nginxConf + ":15", listens: []int{443, 6443}}},
		"not loaded": {conf: strings.Replace(debian, "include /etc/nginx/modules-enabled/*.conf;", "", 1), want: layout{file: ownFile, include: ownInclude + ";",
			load: "load_module /usr/lib/nginx/modules/ngx_stream_module.so; # by migrate"}},
		"not loaded, the folder is read": {conf: debian, want: layout{file: StreamFile, load: "load_module /usr/lib/nginx/modules/ngx_stream_module.so; # by migrate"}},
		"ours included":                  {conf: load + "\ninclude /etc/nginx/migrate.d/*.conf;\n", want: layout{file: ownFile}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := layoutOf(debianProgram, parseDump(dump(tt.conf, tt.others...)), 6443)
			var block streamBlockError
			if errors.As(err, &block) != (tt.block != "") || block.at != tt.block {
				t.Fatalf("error %v, want a block at %q", err, tt.block)
			}
			if tt.block != "" {
				return
			}
			want := tt.want
			want.module, want.errors = true, "/var/log/nginx/error.log"
			if want.nofile = 65536; tt.want.nofile < 0 {
				want.nofile = 0
			}
			if got.file != want.file || got.bare != want.bare || got.include != want.include || got.load != want.load ||
				got.nofile != want.nofile || got.holds != want.holds || got.module != want.module || got.errors != want.errors {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if !slices.Equal(got.listens, want.listens) {
				t.Errorf("it listens on %v, not %v", got.listens, want.listens)
			}
		})
	}
}

// TestEditedAndBack: what is added to nginx.conf can be told from the rest.
func TestEditedAndBack(t *testing.T) {
	t.Parallel()
	l := layout{load: "load_module /x/" + streamModule + ownLoad, include: ownInclude + ";"}
	for _, conf := range []string{debian, "events { }", "events { }\n\n\n"} {
		edited := string(l.edited([]byte(conf)))
		if !strings.HasPrefix(edited, l.load+"\n") || !strings.HasSuffix(edited, "\n"+l.include+"\n") {
			t.Errorf("%q", edited)
		}
		h := remotetest.New("lb1")
		for _, kept := range []bool{false, true} {
			want := strings.TrimRight(conf, "\n") + "\n"
			if kept {
				h.Put(remote.File{Path: path.Join(hostfiles.BackupDir(nginxStreamID), nginxConf), Data: []byte(conf)})
				want = conf
			}
			back, err := withoutLines(t.Context(), h, remote.File{Path: nginxConf, Data: []byte(edited)})
			if err != nil || string(back.Data) != want {
				t.Errorf("with a copy %t: back it is %q and was %q (%v)", kept, back.Data, conf, err)
			}
		}
		// What somebody has added since stays; the copy is of no use then.
		back, err := withoutLines(t.Context(), h, remote.File{Path: nginxConf, Data: []byte(edited + "# more\n")})
		if want := strings.TrimRight(conf, "\n") + "\n# more\n"; err != nil || string(back.Data) != want {
			t.Errorf("back it is %q, wanted %q (%v)", back.Data, want, err)
		}
	}
}
