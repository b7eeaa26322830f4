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
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
)

// asRead is what a real node with two members answers: kubeadm's, and one in
// somebody's pod.
const asRead = `1482
/usr/local/bin/etcd
etcd
--data-dir=/var/lib/etcd
--listen-client-urls=https://127.0.0.1:2379
--name=cp1
--quota-backend-bytes
8589934592
.
20551
/usr/local/bin/etcd
etcd
--data-dir=/data
.
`

func TestProcesses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, out string
		want      []Process
		bad       bool
	}{
		{"two", asRead, []Process{
			{1482, "/usr/local/bin/etcd", kube.Flags{{Name: "data-dir", Value: "/var/lib/etcd"}, {Name: "listen-client-urls", Value: "https://127.0.0.1:2379"},
				{Name: "name", Value: "cp1"}, {Name: "quota-backend-bytes", Value: "8589934592"}}},
			{20551, "/usr/local/bin/etcd", kube.Flags{{Name: "data-dir", Value: "/data"}}},
		}, false},
		{"none", "", nil, false},
		{"one without flags", "7\n/bin/etcd\netcd\n.\n", []Process{{7, "/bin/etcd", nil}}, false},
		{"one that ended meanwhile", "7\n/bin/etcd\n.\n9\n/bin/etcd\netcd\n.\n", []Process{{9, "/bin/etcd", nil}}, false},
		{"a message of somebody's profile", "Welcome!\nx\ny\n.\n", nil, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := remotetest.New("cp1")
			h.OnRun("/proc/", func(string, []byte) (string, error) { return test.out, nil })
			got, err := Processes(t.Context(), h, "etcd")
			if diff := cmp.Diff(test.want, got); diff != "" || (err != nil) != test.bad {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

// here is this machine.
type here struct{ remote.Reader }

func (here) Name() string { return "here" }

func (here) Look(ctx context.Context, c remote.Command) (string, error) {
	out, err := exec.CommandContext(ctx, "/bin/sh", "-c", c.Script).Output()
	return string(out), err
}

// TestProcessesOfThisMachine runs the script where there is a real /proc.
func TestProcessesOfThisMachine(t *testing.T) {
	t.Parallel()
	// 15 characters are all that the kernel keeps of a name.
	const name = "migrate-test-ta"
	command := exec.CommandContext(t.Context(), "tail", "--follow=name", "--retry", "/dev/null", "--quiet")
	command.Path = copyOf(t, command.Path, name)
	if err := command.Start(); err != nil {
		t.Skipf("this machine has no tail to start: %v", err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	var got []Process
	for end := time.Now().Add(5 * time.Second); len(got) == 0 && time.Now().Before(end); {
		var err error
		if got, err = Processes(t.Context(), here{}, name); err != nil {
			t.Fatal(err)
		}
	}
	want := []Process{{command.Process.Pid, command.Path, kube.Flags{{Name: "follow", Value: "name"}, {Name: "retry", Value: "/dev/null"}, {Name: "quiet", Value: "true"}}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := Dying(t.Context(), here{}, name); err != nil {
		t.Errorf("it runs, and it is said: %v", err)
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	stat, state := fmt.Sprintf("/proc/%d/stat", command.Process.Pid), ""
	for end := time.Now().Add(5 * time.Second); state != "Z" && time.Now().Before(end); {
		data, err := os.ReadFile(stat)
		if err != nil {
			t.Fatal(err)
		}
		state = strings.Fields(string(data))[2]
	}
	if got, err := Processes(t.Context(), here{}, name); state != "Z" || len(got) > 0 || err != nil {
		t.Errorf("a zombie, in state %s, is listed: %v, %v", state, got, err)
	}
	if err := Dying(t.Context(), here{}, name); err != nil {
		t.Errorf("a zombie has nothing left, and it is said: %v", err)
	}
}

// TestDying: PIDs that the script prints are an error that names them.
func TestDying(t *testing.T) {
	t.Parallel()
	h := remotetest.New("cp1")
	h.OnRun("/task/", func(string, []byte) (string, error) { return "71\n", nil })
	if err := Dying(t.Context(), h, "kube-apiserver"); err == nil || !strings.Contains(err.Error(), "kube-apiserver on cp1, process 71, is about to be gone") {
		t.Error(err)
	}
}

// copyOf makes a copy of a program under another name.
func copyOf(t *testing.T, program, name string) string {
	t.Helper()
	to := t.TempDir() + "/" + name
	if err := exec.CommandContext(t.Context(), "cp", program, to).Run(); err != nil {
		t.Fatal(err)
	}
	return to
}

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
	old := OldEtcd{Process{1482, "/usr/local/bin/etcd", kube.Flags{
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
	if othersCommand.MatchString(script) {
		t.Error("it is taken for a program of others")
	}
}

func TestListenAddress(t *testing.T) {
	t.Parallel()
	tests := []struct {
		list, want string
		local      bool
	}{
		{"https://127.0.0.1:2380", "127.0.0.1:2380", true},
		{"https://localhost:2380", "localhost:2380", true},
		{"https://127.0.0.1:2379,https://10.88.0.11:2379", "127.0.0.1:2379", false},
		{"https://10.88.0.11:2379,https://127.0.0.1:2379", "127.0.0.1:2379", false},
		{"https://10.88.0.11:2380", "10.88.0.11:2380", false},
		{"https://0.0.0.0:2379", "127.0.0.1:2379", false},
		{"https://[::ffff:0.0.0.0]:2379", "127.0.0.1:2379", false},
		{"https://[0:0:0:0:0:0:0:0]:2379", "127.0.0.1:2379", false},
		{"https://[::]:2379", "127.0.0.1:2379", false},
		{"https://[::1]:2380", "[::1]:2380", true},
		{" https://[fd00::11]:2380 ", "[fd00::11]:2380", false},
		{"", "", true},
		{"unix:///run/etcd.sock,https://127.0.0.1:2379", "127.0.0.1:2379", true},
	}
	for _, test := range tests {
		got, local := ListenAddress(kube.Flags{{Name: "listen-peer-urls", Value: test.list}}, "listen-peer-urls")
		if got != test.want || local != test.local {
			t.Errorf("%q: got %q, local only %t; want %q, %t", test.list, got, local, test.want, test.local)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.1.1": true, "::1": true, "localhost": true,
		"10.88.0.11": false, "cp1": false, "": false, "0.0.0.0": false,
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("%q: got %t", host, got)
		}
	}
}
