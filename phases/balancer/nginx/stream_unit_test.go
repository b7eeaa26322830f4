package nginx

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func backend() *rapid.Generator[string] {
	return rapid.StringMatching(`(10\.88\.0\.[1-9][0-9]?|\[fd00::[1-9a-f]\]|cp[0-9]\.example):[1-9][0-9]{3}`)
}

// What Render writes, Backends reads, whatever the other settings are.
func TestBackendsReadsWhatRenderWrites(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		u := Upstream{
			Port:     rapid.IntRange(1, 65535).Draw(t, "port"),
			Backends: rapid.SliceOfNDistinct(backend(), 1, 5, rapid.ID[string]).Draw(t, "backends"),
			Bare:     rapid.Bool().Draw(t, "bare"),
			Nofile:   rapid.SampledFrom([]int{0, 65536}).Draw(t, "nofile"),
		}
		conf := u.Render()
		if diff := cmp.Diff(u.Backends, Backends([]byte(conf))); diff != "" {
			t.Fatal(diff)
		}
		if strings.Count(conf, "{") != strings.Count(conf, "}") {
			t.Fatalf("unbalanced:\n%s", conf)
		}
		if !strings.Contains(conf, fmt.Sprintf("listen %d so_keepalive", u.Port)) {
			t.Fatalf("it does not listen on %d:\n%s", u.Port, conf)
		}
		if strings.Contains(conf, "stream {") == u.Bare || strings.Contains(conf, "worker_rlimit_nofile") != (u.Nofile > 0 && !u.Bare) {
			t.Fatalf("bare %t, nofile %d:\n%s", u.Bare, u.Nofile, conf)
		}
	})
}

func TestBackendsOfOthers(t *testing.T) {
	t.Parallel()
	for _, conf := range []string{"", "server { listen 80; }", "# server 1.2.3.4:6443 max_fails=1;", "server 1.2.3.4 max_fails=1;"} {
		if got := Backends([]byte(conf)); len(got) != 0 {
			t.Errorf("%q: %v", conf, got)
		}
	}
}

// What nginx reads as ours has the backends of ours, however it is written.
func TestBackendsWrittenByHand(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		u := Upstream{Port: 6443, Backends: rapid.SliceOfNDistinct(backend(), 1, 5, rapid.ID[string]).Draw(t, "backends"), Bare: rapid.Bool().Draw(t, "bare")}
		own := u.Render()
		var conf strings.Builder
		for line := range strings.Lines(own) {
			if !strings.HasPrefix(line, "#") {
				conf.WriteString(strings.TrimSpace(line) + rapid.SampledFrom([]string{"", " ", "\n", " # old: server 10.88.0.99:6443 max_fails=1;\n"}).Draw(t, "end"))
			}
		}
		if !sameToNginx(conf.String(), own) {
			t.Fatalf("another file:\n%s", &conf)
		}
		if diff := cmp.Diff(u.Backends, Backends([]byte(conf.String()))); diff != "" {
			t.Fatalf("%s\n%s", &conf, diff)
		}
	})
	for conf, want := range map[string]string{
		"upstream x { least_conn; server 10.0.0.11:6443 max_fails=1 fail_timeout=5s; }":         "10.0.0.11:6443",
		"upstream x {\n  server\n    10.0.0.11:6443\n    max_fails=1;\n}":                       "10.0.0.11:6443",
		"upstream x {\n  server 10.0.0.11:6443 max_fails=1;\n  server 10.0.0.12:6443 max_fails": "10.0.0.11:6443 10.0.0.12:6443",
	} {
		if got := strings.Join(Backends([]byte(conf)), " "); got != want {
			t.Errorf("%q: %s, not %s", conf, got, want)
		}
	}
}

func TestWithBackend(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list, one := rapid.SliceOfDistinct(backend(), rapid.ID[string]).Draw(t, "list"), backend().Draw(t, "one")
		before := slices.Clone(list)
		got := WithBackend(list, one)
		want := before
		if !slices.Contains(before, one) {
			want = append(slices.Clone(before), one)
		}
		if !slices.Equal(got, want) || !slices.Equal(list, before) || !slices.Equal(WithBackend(got, one), got) {
			t.Fatalf("%v with %s is %v", before, one, got)
		}
	})
}

// debian is nginx.conf of Debian 12, shortened.
const debian = `user www-data;
worker_processes auto;
pid /run/nginx.pid;
include /etc/nginx/modules-enabled/*.conf;

events {
	worker_connections 768;
	# multi_accept on;
}

http {
	include /etc/nginx/conf.d/*.conf;
	include /etc/nginx/sites-enabled/*;
}
`

func TestConnections(t *testing.T) {
	t.Parallel()
	for conf, want := range map[string]int{
		debian:                         768,
		"events { }\n":                 512,
		"# worker_connections 9000;\n": 512,
		"events {\n    worker_connections  4096 ;\n}\n": 4096,
	} {
		if got := configuredConnections([]byte(conf)); got != want {
			t.Errorf("%q: %d, not %d", conf, got, want)
		}
	}
}

func TestRaiseConnections(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		need := rapid.IntRange(1, 200_000).Draw(t, "need")
		out, err := raiseConnections([]byte(debian), need)
		if err != nil {
			t.Fatal(err)
		}
		n := configuredConnections(out)
		if n < need || n < 1024 || n&(n-1) != 0 || n > 1024 && n/2 >= need {
			t.Fatalf("%d for %d", n, need)
		}
		if want := strings.Replace(debian, " 768;", fmt.Sprintf(" %d;", n), 1); string(out) != want {
			t.Fatal(cmp.Diff(want, string(out)))
		}
	})
	for conf, want := range map[string]string{"events { }\n": "events { worker_connections 1024; }\n", "# events {\nevents {\n}\n": "# events {\nevents { worker_connections 1024;\n}\n", "include e/*;\n": ""} {
		if out, err := raiseConnections([]byte(conf), 1000); string(out) != want || (err == nil) != (want != "") {
			t.Errorf("%q became %q, %v", conf, out, err)
		}
	}
}

// TestSameToNginx: a file of ours that somebody has written by hand is as good.
func TestSameToNginx(t *testing.T) {
	t.Parallel()
	own := Upstream{Port: 6443, Backends: []string{"10.88.0.11:6443", "10.88.0.12:6443"}, Bare: true}.Render()
	for name, tt := range map[string]struct {
		text string
		want bool
	}{
		"itself":            {own, true},
		"without comments":  {own[strings.Index(own, "upstream"):], true},
		"other spaces":      {strings.ReplaceAll(strings.ReplaceAll(own, "    ", "\t"), " {", "\n{"), true},
		"in quotes":         {strings.Replace(own, "least_conn", `"least_conn"`, 1), true},
		"a backend less":    {strings.Replace(own, "server 10.88.0.12:6443 max_fails=1 fail_timeout=5s;", "", 1), false},
		"commented":         {strings.Replace(own, "least_conn", "# least_conn", 1), false},
		"two words in one":  {strings.Replace(own, "listen 6443", "listen6443", 1), false},
		"something besides": {own + "server { listen 1; }", false},
		"cut short":         {own[:len(own)-2], false},
		"empty":             {"", false},
	} {
		if got := sameToNginx(tt.text, own); got != tt.want {
			t.Errorf("%s: %v, not %v", name, got, tt.want)
		}
	}
}
