package phases

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/process"
	"hamigrate/migrate/remote"
)

const manifestOfCP1 = `apiVersion: v1
kind: Pod
metadata: {name: etcd, namespace: kube-system}
spec:
  containers:
  - name: etcd
    command:
    - etcd
    - --data-dir=/var/lib/etcd
    - --name=cp1
`

// asLooked is what a real node answers to the question for the old member: two
// processes, the first with variables, and the manifest.
const asLooked = `1482
/usr/local/bin/etcd
etcd
--data-dir=/var/lib/etcd
--listen-client-urls=https://127.0.0.1:2379
--listen-peer-urls=https://127.0.0.1:2380
--name=cp1
.environment
ETCD_QUOTA_BACKEND_BYTES=8589934592
ETCD_NAME=other
.
20551
/usr/local/bin/etcd
etcd
--data-dir=/data
.environment
.
.manifest
` + EtcdManifest + "\n" + manifestOfCP1

func TestParseOldEtcd(t *testing.T) {
	t.Parallel()
	old := OldEtcd{process.Running{PID: 1482, Exe: "/usr/local/bin/etcd", Flags: kube.Flags{
		{Name: "data-dir", Value: "/var/lib/etcd"}, {Name: "listen-client-urls", Value: "https://127.0.0.1:2379"},
		{Name: "listen-peer-urls", Value: "https://127.0.0.1:2380"}, {Name: "name", Value: "cp1"},
		{Name: "quota-backend-bytes", Value: "8589934592"},
	}}, "127.0.0.1:2379", "127.0.0.1:2380", true}
	first, second := asLooked[:strings.Index(asLooked, "20551")], asLooked[strings.Index(asLooked, "20551"):]
	tests := []struct {
		name, out string
		want      OldEtcd
		running   bool
		bad       string
	}{
		{"two, with and without variables", asLooked, old, true, ""},
		{"the other way round", strings.Replace(second, ".manifest", first+".manifest", 1), old, true, ""},
		{"another one only", second, OldEtcd{}, false, ""},
		{"no process", asLooked[strings.Index(asLooked, ".manifest"):], OldEtcd{}, false, ""},
		{"no manifest", strings.SplitAfter(asLooked, ".manifest\n")[0], OldEtcd{}, false, ""},
		{"nothing", ".manifest\n", OldEtcd{}, false, ""},
		{"one that ended meanwhile", "7\n/usr/local/bin/etcd\n.environment\n.\n" + asLooked, old, true, ""},
		{"variables that are no flags", strings.Replace(asLooked, "ETCD_NAME=other", "ETCD_SERVICE_HOST=10.96.0.7", 1), old, true, ""},
		{"a manifest that is none", strings.Replace(asLooked, manifestOfCP1, "{", 1), OldEtcd{}, false, EtcdManifest},
		{"a message of somebody's profile", "Welcome!\nx\ny\n.\n" + asLooked, OldEtcd{}, false, "Welcome!"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, running, err := parseOldEtcd(test.out)
			if diff := cmp.Diff(test.want, got); diff != "" || running != test.running || (err != nil) != (test.bad != "") {
				t.Errorf("%t, %v %s", running, err, diff)
			}
			if err != nil && !strings.Contains(err.Error(), test.bad) {
				t.Errorf("%v does not say %q", err, test.bad)
			}
		})
	}
}

// TestOldEtcdScript runs the script where there is a real shell and a real
// /proc, with the manifest archived.
func TestOldEtcdScript(t *testing.T) {
	t.Parallel()
	command := exec.CommandContext(t.Context(), "tail", "--follow=name", "--retry", "/dev/null")
	command.Path = copyOf(t, command.Path, "etcd")
	command.Env = []string{"SECRET=x", "ETCD_SNAPSHOT_COUNT=5"}
	if err := command.Start(); err != nil {
		t.Skipf("this machine has no tail to start: %v", err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	archived := t.TempDir() + "/etcd.yaml"
	if err := os.WriteFile(archived, []byte(manifestOfCP1), 0o600); err != nil {
		t.Fatal(err)
	}
	script := strings.NewReplacer(EtcdManifest, t.TempDir()+"/gone", archivedManifest, archived).Replace(oldEtcdScript())
	want := fmt.Sprintf("\n%d\n%s\n%s\n--follow=name\n--retry\n/dev/null\n.environment\nETCD_SNAPSHOT_COUNT=5\n.\n", command.Process.Pid, command.Path, command.Args[0])
	var out string
	for end := time.Now().Add(5 * time.Second); !strings.Contains("\n"+out, want) && time.Now().Before(end); {
		var err error
		if out, err = (here{}).Look(t.Context(), remote.Command{Script: script}); err != nil {
			t.Fatal(err)
		}
	}
	if end := ".\n.manifest\n" + archived + "\n" + manifestOfCP1; !strings.Contains("\n"+out, want) || !strings.HasSuffix(out, end) || strings.Contains(out, "SECRET") {
		t.Errorf("got %s\nwanted %s … %s", out, want, end)
	}
}

// here is this machine.
type here struct{ remote.Reader }

func (here) Name() string { return "here" }

func (here) Look(ctx context.Context, c remote.Command) (string, error) {
	out, err := exec.CommandContext(ctx, "/bin/sh", "-c", c.Script).Output()
	return string(out), err
}

func copyOf(t *testing.T, program, name string) string {
	t.Helper()
	to := t.TempDir() + "/" + name
	if err := exec.CommandContext(t.Context(), "cp", program, to).Run(); err != nil {
		t.Fatal(err)
	}
	return to
}
