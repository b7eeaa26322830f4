package phases

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"hamigrate/internal/within"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/process"
)

// FuzzProcesses: what processScript prints is read as so many processes with
// their words, or refused.
func FuzzProcesses(f *testing.F) {
	f.Add("812\n/usr/bin/etcd\netcd\n--name=cp1\n--data-dir=/var/lib/etcd\n.\n")
	f.Add("1\n/x\nx\n.\n2\n/y (deleted)\ny\n-a\nb\n--c\n.\n")
	f.Add("812\n/usr/bin/etcd\netcd\n--name=cp1\n.environment\nETCD_QUOTA_BACKEND_BYTES=1\n.\n")
	f.Add("x\n/x\nx\n.\n")
	f.Add(".\n.\n.\n")
	f.Fuzz(func(t *testing.T, out string) {
		within.Bounds(t, func() {
			list, variables, err := process.ParseProcesses(out)
			if err != nil {
				return
			}
			if len(list) != len(variables) || len(list) > strings.Count(out, "\n.\n")+1 {
				t.Errorf("%d processes with %d environments in %q", len(list), len(variables), out)
			}
			for _, p := range list {
				for _, flag := range p.Flags {
					if !strings.Contains(out, flag.Name) || flag.Value != "true" && !strings.Contains(out, flag.Value) {
						t.Errorf("the flag %+v is not in %q", flag, out)
					}
				}
			}
		})
	})
}

// FuzzOldEtcd: the old member is the process that its manifest describes.
func FuzzOldEtcd(f *testing.F) {
	const manifest = "/etc/kubernetes/manifests/etcd.yaml\nspec:\n  containers:\n  - command: [etcd, --name=cp1, --data-dir=/var/lib/etcd]\n"
	f.Add("812\n/usr/bin/etcd\netcd\n--name=cp1\n--data-dir=/var/lib/etcd\n--listen-client-urls=https://127.0.0.1:2379,https://192.0.2.11:2379\n--listen-peer-urls=https://0.0.0.0:2380\n.environment\nETCD_NAME=x\n.\n.manifest\n" + manifest)
	f.Add(".manifest\n" + manifest)
	f.Add("812\n/x\netcd\n.manifest\n.\n.manifest\n" + manifest)
	f.Add(".manifest\n/f\nspec: {containers: [{}]}\n")
	f.Fuzz(func(t *testing.T, out string) {
		within.Bounds(t, func() {
			old, running, err := parseOldEtcd(out)
			if err != nil || !running {
				return
			}
			name, _ := old.Flags.Get("name")
			if !strings.Contains(out, name) || old.PID == 0 && !strings.Contains(out, "0\n") {
				t.Errorf("%+v is not in it", old)
			}
			for _, file := range old.Flags {
				if strings.Count(file.Name, "=") > 0 {
					t.Errorf("flag %+v", file)
				}
			}
		})
	})
}

// FuzzEtcdFlags: a new member gets the flags of the old one that are not its
// own, each once, and listeners at its own address alone.
func FuzzEtcdFlags(f *testing.F) {
	f.Add("--name=cp1\n--quota-backend-bytes=1\n--quota-backend-bytes=2\n--listen-metrics-urls=http://0.0.0.0:2381,http://[::1]:1\n--snapshot-count", "ETCD_HEARTBEAT_INTERVAL=100\nETCD_NAME=x\nETCD_SERVICE_HOST=192.0.2.1")
	f.Add("--listen-metrics-urls=unix:///x,http://%zz,://,http://192.0.2.11:\n--listen-client-http-urls=https://192.0.2.11:1", "")
	f.Fuzz(func(t *testing.T, words, variables string) {
		within.Bounds(t, func() {
			h := cluster.Host{Name: "e1", Address: "192.0.2.21"}
			old := etcdflags.WithVariables(kube.ParseFlags(strings.Split(words, "\n")), strings.Split(variables, "\n"))
			seen := map[string]bool{}
			for _, flag := range etcdflags.Inherited(old, h) {
				if etcdflags.StaysBehind(flag.Name) || seen[flag.Name] {
					t.Errorf("the new member gets %+v", flag)
				}
				if value, _ := old.Get(flag.Name); value != flag.Value && !etcdflags.InstanceEtcdFlags[flag.Name] {
					t.Errorf("--%s is %q and was %q", flag.Name, flag.Value, value)
				}
				seen[flag.Name] = true
			}
			for _, flag := range old {
				if !seen[flag.Name] && !etcdflags.StaysBehind(flag.Name) {
					t.Errorf("--%s is lost", flag.Name)
				}
			}
			for _, flag := range etcdflags.MemberListeners(old, h) {
				for _, raw := range strings.Split(flag.Value, ",") {
					u, err := url.Parse(raw)
					if err != nil || u.Port() == "" || !slices.Contains([]string{"127.0.0.1", h.Address}, u.Hostname()) {
						t.Errorf("the new member listens at %q", raw)
					}
				}
			}
			etcdflags.LeftBehind(old)
			etcdflags.ListenAddress(old, "listen-metrics-urls")
		})
	})
}
