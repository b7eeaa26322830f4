//go:build playground

// Tests on real hosts: as root, `go test -tags playground ./migrate/playground`.
// They take a minute and a half with a filled cache.

package playground

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// killedUp names the playground that a child process of the test makes and is
// killed over.
const killedUp = "MIGRATE_TEST_KILLED_UP"

func realOptions(name string) Options {
	return Options{Name: name, Workers: 1, Spare: true, EtcdListen: EtcdOnLocalhost, Objects: 200}
}

// leftovers lists what is there of a playground: processes, namespace, links,
// mounts, cgroups, firewall rules and folders.
func leftovers(t *testing.T, o Options) []string {
	t.Helper()
	o, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	match := func(kind, text string) {
		for line := range strings.Lines(text) {
			if strings.Contains(line, o.id()) || strings.Contains(line, filepath.Join(o.Dir, o.Name)+"/") {
				found = append(found, kind+": "+strings.TrimSpace(line))
			}
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		data, _ := os.ReadFile(p) // it may be gone
		match("process", strings.ReplaceAll(string(data), "\x00", " "))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	match("mount", string(mounts))
	for kind, pattern := range map[string]string{
		"namespace": netnsDir + "/" + o.id(),
		"cgroup":    "/sys/fs/cgroup/" + o.id() + "*",
		"cgroup v1": "/sys/fs/cgroup/*/" + o.id() + "*",
		"nspawn":    "/run/systemd/nspawn/*/" + o.id() + "*",
		"folder":    filepath.Join(o.Dir, o.Name),
	} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			found = append(found, kind+": "+n)
		}
	}
	for _, list := range [][]string{{"nft", "list", "ruleset"}, {"iptables-save"}} {
		if out, err := exec.Command(list[0], list[1:]...).Output(); err == nil && strings.Contains(string(out), "198.18.") {
			found = append(found, "rule: "+list[0]+" knows an address of 198.18.0.0/15")
		}
	}
	return found
}

// linkThere says whether this machine has the link of a slot.
func linkThere(slot int) bool {
	_, err := net.InterfaceByName(linkPrefix + strconv.Itoa(slot))
	return err == nil
}

func mustBeGone(t *testing.T, o Options, slot int) {
	t.Helper()
	if left := leftovers(t, o); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	if slot >= 0 && linkThere(slot) {
		t.Errorf("the link of slot %d is left", slot)
	}
}

func tell(t *testing.T) Events {
	began := time.Now()
	return func(m string) { t.Logf("%5.1fs %s", time.Since(began).Seconds(), m) }
}

// sysctls that a kubelet would set for the whole machine.
func machineSysctls(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"} {
		data, err := os.ReadFile("/proc/sys/" + name)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(name + "=" + string(data))
	}
	return all.String()
}

// TestRealPlayground makes a playground and looks at all of it.
//
// Long: what is looked at is looked at on one playground, which takes a minute to make.
func TestRealPlayground(t *testing.T) {
	o := realOptions(fmt.Sprintf("test-%d", os.Getpid()))
	before := machineSysctls(t)
	p, err := Up(t.Context(), o, tell(t))
	if err != nil {
		t.Fatal(err)
	}
	down := func() {
		if err := p.Down(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(down)
	first, worker, spare := "cp1", "w1", "w2"

	t.Run("SSH", func(t *testing.T) {
		for _, h := range p.Hosts() {
			if out := ssh(t, p, h.Name, "hostname"); strings.TrimSpace(out) != h.Name {
				t.Errorf("%s says it is %q", h.Name, out)
			}
		}
	})
	t.Run("UnrelatedSite", func(t *testing.T) {
		resp, err := http.Get("http://" + withRole(p.Hosts(), RoleLoadBalancer)[0].Address.String())
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Error(resp.Status)
		}
	})
	t.Run("EtcdOnLocalhostOnly", func(t *testing.T) {
		if out := ssh(t, p, first, "ss -Hltn '( sport = :2379 or sport = :2380 )' | awk '{print $4}' | sort"); out != "127.0.0.1:2379\n127.0.0.1:2380\n" {
			t.Errorf("etcd listens on:\n%s", out)
		}
	})
	t.Run("PodOnAWorker", func(t *testing.T) { podOnAWorker(t, p, first, worker) })
	t.Run("NodesCannotChangeTheMachine", func(t *testing.T) {
		if after := machineSysctls(t); after != before {
			t.Errorf("before:\n%safter:\n%s", before, after)
		}
	})
	t.Run("SpareJoins", func(t *testing.T) {
		join := strings.TrimSpace(ssh(t, p, first, "kubeadm token create --print-join-command 2>/dev/null"))
		ssh(t, p, spare, join+" --ignore-preflight-errors=SystemVerification,Swap,NumCPU,Mem")
		ssh(t, p, first, "kubectl wait node/"+spare+" --for=condition=Ready --timeout=60s")
	})
	const count = "kubectl get configmaps,secrets -A -l app.kubernetes.io/managed-by=migrate-playground -o name | wc -l"
	t.Run("Filled", func(t *testing.T) {
		if out := ssh(t, p, first, count); strings.TrimSpace(out) != strconv.Itoa(o.Objects) {
			t.Errorf("%s objects, want %d", out, o.Objects)
		}
		ssh(t, p, first, "kubectl delete configmap -n objects-1 settings-000000 settings-000001")
	})
	t.Run("PowerCut", func(t *testing.T) {
		if err := p.StopHost(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		s, err := p.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range s.Hosts {
			if on := h.Name != first; h.On != on || h.SSH != on {
				t.Errorf("with %s off: %+v", first, h)
			}
		}
		if err := p.StartHost(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("UpAgainIsNoOtherUp", func(t *testing.T) {
		created := p.state.Created
		again, err := Up(t.Context(), o, tell(t))
		if err != nil {
			t.Fatal(err)
		}
		if !again.state.Created.Equal(created) || again.state.Slot != p.state.Slot {
			t.Errorf("made again: %+v", again.state)
		}
		if out := ssh(t, p, first, count); strings.TrimSpace(out) != strconv.Itoa(o.Objects) {
			t.Errorf("%s objects after two were deleted, want %d", out, o.Objects)
		}
		other := o
		other.Workers = 2
		var mistake *UserError
		if _, err := Up(t.Context(), other, nil); !errors.As(err, &mistake) {
			t.Errorf("up with another wish: %v", err)
		}
	})
	down()
	mustBeGone(t, o, p.state.Slot)
	down()
	mustBeGone(t, o, p.state.Slot)
}

// podOnAWorker runs a pod that reaches the API through the Service, a pod on
// another node and the cluster's DNS.
func podOnAWorker(t *testing.T, p *Playground, first, worker string) {
	image := strings.TrimSpace(ssh(t, p, first, "kubectl -n kube-system get daemonset kube-proxy -o jsonpath='{.spec.template.spec.containers[0].image}'"))
	ssh(t, p, first, `kubectl run probe --image=`+image+` --restart=Never --overrides='{"spec":{"nodeName":"`+worker+`","terminationGracePeriodSeconds":1}}' --command -- sleep 3600`)
	ssh(t, p, first, "kubectl wait pod/probe --for=condition=Ready --timeout=60s")
	dns := strings.TrimSpace(ssh(t, p, first, "kubectl -n kube-system get pods -l k8s-app=kube-dns -o jsonpath='{.items[0].status.podIP}'"))
	for what, script := range map[string]string{
		"the Service":         "exec 3<>/dev/tcp/10.96.0.1/443",
		"a pod on " + first:   "exec 3<>/dev/tcp/" + dns + "/53",
		"the name of the API": "exec 3<>/dev/tcp/kubernetes.default.svc.cluster.local/443",
	} {
		if out, err := try(p, first, "kubectl exec probe -- timeout 10 bash -c '"+script+"'"); err != nil {
			t.Errorf("a pod on %s does not reach %s: %v %s", worker, what, err, out)
		}
	}
}

// TestInterruptedUp ends an `up` at each of its stages, in order and by
// SIGKILL, and takes down what is there.
func TestInterruptedUp(t *testing.T) {
	if name := os.Getenv(killedUp); name != "" {
		stage := os.Getenv(killedUp + "_STAGE")
		_, err := Up(t.Context(), realOptions(name), func(m string) {
			if strings.HasPrefix(m, stage) {
				self, _ := os.FindProcess(os.Getpid())
				_ = self.Kill()
				select {}
			}
		})
		t.Fatalf("not killed: %v", err)
	}
	for i, stage := range []string{"making the network", "making 9 hosts", "booting them", "kubeadm init", "joining"} {
		o := realOptions(fmt.Sprintf("test-%d-%d", os.Getpid(), i))
		t.Run("Cancelled/"+stage, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := Up(ctx, o, func(m string) {
				if strings.HasPrefix(m, stage) {
					cancel()
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			takeDown(t, o)
		})
		t.Run("Killed/"+stage, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestInterruptedUp$", "-test.v")
			cmd.Env = append(os.Environ(), killedUp+"="+o.Name, killedUp+"_STAGE="+stage)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Exited() {
				t.Errorf("not killed: %v\n%s", err, out)
			}
			takeDown(t, o)
		})
	}
}

func takeDown(t *testing.T, o Options) {
	t.Helper()
	p, err := Open("", o.Name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Down(t.Context()); err != nil {
		t.Error(err)
	}
	mustBeGone(t, o, p.state.Slot)
}

// ssh runs a command on a host through the words that `playground ssh` runs,
// with an administrator's kubeconfig where there is one.
func ssh(t *testing.T, p *Playground, host, command string) string {
	t.Helper()
	out, err := try(p, host, command)
	if err != nil {
		t.Fatalf("%s: %s: %v: %s", host, command, err, out)
	}
	return out
}

func try(p *Playground, host, command string) (string, error) {
	words, err := p.SSH(host, "export KUBECONFIG=/etc/kubernetes/admin.conf; "+command)
	if err != nil {
		return "", err
	}
	out, err := exec.Command(words[0], words[1:]...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return string(out), err
}
