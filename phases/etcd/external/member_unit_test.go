package external

import (
	"strings"
	"testing"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcd"
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/kube"
	"hamigrate/phases"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func view(target string) phases.Reader {
	return phases.NewAccess(cluster.Spec{
		ControlPlane: cluster.ControlPlane{First: cluster.Host{Name: "cp1", Address: "10.88.0.11"}},
		Etcd:         cluster.Etcd{Hosts: []cluster.Host{{Name: "e1", Address: "10.88.0.21"}, {Name: "e2", Address: "10.88.0.22"}, {Name: "e3", Address: "10.88.0.23"}}},
	}, nil).Reader(target)
}

func TestMemberFlagsInheritTuning(t *testing.T) {
	t.Parallel()
	tuning := kube.Flags{
		{Name: "quota-backend-bytes", Value: "8589934592"}, {Name: "max-request-bytes", Value: "10485760"},
		{Name: "heartbeat-interval", Value: "250"}, {Name: "election-timeout", Value: "2500"}, {Name: "initial-election-tick-advance", Value: "false"},
		{Name: "snapshot-count", Value: "10000"}, {Name: "auto-compaction-mode", Value: "periodic"}, {Name: "cipher-suites", Value: "TLS_A,TLS_B"},
		{Name: "feature-gates", Value: "InitialCorruptCheck=true"}, {Name: "watch-progress-notify-interval", Value: "5s"}, {Name: "pre-vote", Value: "true"},
	}
	h := cluster.Host{Name: "e1", Address: "10.88.0.21"}
	own := memberFlags(h, nil)
	running := kube.Flags{{Name: "discovery-srv", Value: "old"}, {Name: "discovery", Value: "old"}}
	for _, f := range kube.ParseFlags(own) {
		running = append(running, kube.Flag{Name: f.Name, Value: "old"})
	}
	for _, name := range []string{"wal-dir", "force-new-cluster", "initial-cluster", "initial-cluster-state", "initial-cluster-token", "log-outputs",
		"enable-log-rotation", "log-rotation-config-json", "unsafe-no-fsync", "strict-reconfig-check", "peer-client-cert-file", "peer-client-key-file", "auto-tls", "proxy"} {
		running = append(running, kube.Flag{Name: name, Value: "old"})
	}
	got := memberFlags(h, append(running, tuning...))
	want := own
	for _, f := range tuning {
		want = append(want, "--"+f.Name+"="+f.Value)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, f := range kube.ParseFlags(own) {
		if len(etcdflags.Inherited(kube.Flags{f}, h)) > 0 {
			t.Errorf("--%s is a member's own, and would be inherited a second time", f.Name)
		}
	}
	flags := kube.ParseFlags(own)
	for name, want := range map[string]string{
		"name": "e1", "listen-peer-urls": "https://10.88.0.21:2380", "initial-advertise-peer-urls": "https://10.88.0.21:2380",
		"listen-client-urls": "https://127.0.0.1:2379,https://10.88.0.21:2379", "advertise-client-urls": "https://10.88.0.21:2379", "data-dir": DataDir,
	} {
		if got, _ := flags.Get(name); got != want {
			t.Errorf("--%s=%s", name, got)
		}
	}
}

// words undoes what systemd does to one quoted word (systemd.service(5)).
func unquote(s string) string {
	if strings.HasPrefix(s, `"`) {
		s = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(s[1 : len(s)-1])
	}
	return strings.NewReplacer(`%%`, `%`, `$$`, `$`).Replace(s)
}

func TestQuoteForSystemd(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"--a=b": "--a=b", "--a=50%": "--a=50%%", "--a=$HOME": "--a=$$HOME", "--a=b c": `"--a=b c"`,
		`--a="b"`: `"--a=\"b\""`, `--a=b\c`: `"--a=b\\c"`, "--a='": `"--a='"`, "--a=$x %y": `"--a=$$x %%y"`, "--a=;": `"--a=;"`,
	} {
		if got := quoteForSystemd(s); got != want {
			t.Errorf("%s became %s, not %s", s, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := "--" + rapid.StringMatching(`[a-c%$ "'\\;=\t]{0,12}`).Draw(t, "flag")
		got := quoteForSystemd(s)
		if unquote(got) != s {
			t.Fatalf("%q became %q", s, got)
		}
		if !strings.HasPrefix(got, `"`) && strings.ContainsAny(got, " \t\"'\\;") {
			t.Fatalf("%q is not one word", got)
		}
	})
}

func TestRenderUnit(t *testing.T) {
	t.Parallel()
	unit := renderUnit([]string{"--name=e1", "--x=50% $y"})
	want := "\nExecStart=/usr/local/bin/etcd \\\n  --name=e1 \\\n  \"--x=50%% $$y\"\nRestart=always\n"
	if !strings.Contains(unit, want) || !strings.Contains(unit, "\nEnvironmentFile=-/etc/etcd/etcd.env\n") || !strings.Contains(unit, "(written by migrate)") {
		t.Errorf("got\n%s", unit)
	}
}

func member(id uint64, name string, urls ...string) etcd.Member {
	return etcd.Member{ID: id, Name: name, PeerURLs: urls}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	members := []etcd.Member{member(1, "cp1", "https://10.88.0.11:2380", "https://cp1:2380"), member(11, "e1", "https://10.88.0.21:2380"), member(12, "", "https://10.88.0.22:2380")}
	got, err := environment(members, view("e2"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "# Read once, when the data folder is empty. \"existing\" keeps a member that lost\n# its data from founding a cluster of its own.\nETCD_INITIAL_CLUSTER_STATE=existing\nETCD_INITIAL_CLUSTER=cp1=https://10.88.0.11:2380,cp1=https://cp1:2380,e1=https://10.88.0.21:2380,e2=https://10.88.0.22:2380\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got, err := environment(members, view("e3")); err == nil {
		t.Errorf("e3 is no member, and got %s", got)
	}
}
