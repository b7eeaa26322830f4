package process

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
		want      []Running
		bad       bool
	}{
		{"two", asRead, []Running{
			{1482, "/usr/local/bin/etcd", kube.Flags{{Name: "data-dir", Value: "/var/lib/etcd"}, {Name: "listen-client-urls", Value: "https://127.0.0.1:2379"},
				{Name: "name", Value: "cp1"}, {Name: "quota-backend-bytes", Value: "8589934592"}}},
			{20551, "/usr/local/bin/etcd", kube.Flags{{Name: "data-dir", Value: "/data"}}},
		}, false},
		{"none", "", nil, false},
		{"one without flags", "7\n/bin/etcd\netcd\n.\n", []Running{{7, "/bin/etcd", nil}}, false},
		{"one that ended meanwhile", "7\n/bin/etcd\n.\n9\n/bin/etcd\netcd\n.\n", []Running{{9, "/bin/etcd", nil}}, false},
		{"a message of somebody's profile", "Welcome!\nx\ny\n.\n", nil, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := remotetest.New("cp1")
			h.OnRun("/proc/", func(string, []byte) (string, error) { return test.out, nil })
			got, err := Find(t.Context(), h, "etcd")
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
	var got []Running
	for end := time.Now().Add(5 * time.Second); len(got) == 0 && time.Now().Before(end); {
		var err error
		if got, err = Find(t.Context(), here{}, name); err != nil {
			t.Fatal(err)
		}
	}
	want := []Running{{command.Process.Pid, command.Path, kube.Flags{{Name: "follow", Value: "name"}, {Name: "retry", Value: "/dev/null"}, {Name: "quiet", Value: "true"}}}}
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
	if got, err := Find(t.Context(), here{}, name); state != "Z" || len(got) > 0 || err != nil {
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
