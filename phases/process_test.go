package phases

import (
	"context"
	"os/exec"
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
		{"https://[::]:2379", "127.0.0.1:2379", false},
		{"https://[::1]:2380", "[::1]:2380", true},
		{" https://[fd00::11]:2380 ", "[fd00::11]:2380", false},
		{"", "", true},
		{"unix:///run/etcd.sock,https://127.0.0.1:2379", "127.0.0.1:2379", true},
	}
	for _, test := range tests {
		got, local := listenAddress(kube.Flags{{Name: "listen-peer-urls", Value: test.list}}, "listen-peer-urls")
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
