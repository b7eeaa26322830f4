package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// fault is something that happens to a run, or to what it works on.
type fault struct {
	name string
	// serves: it takes away what serves clients, so that requests may fail,
	// for as long as it lasts and grace longer. With all others none may.
	serves bool
	// stops: the run cannot go on and has to end with an error.
	stops bool
	// kills: the program is killed first, and nobody starts it again before
	// the fault is over.
	kills bool
	limit time.Duration // of the strike; 0: strikeLimit
	// strike does it, keeps it up for its time and takes it away again. Nil:
	// the program itself is killed.
	strike func(context.Context, struck) error
}

// grace is how much longer than a fault the API may be away.
const grace = 15 * time.Second

// struck is what a fault may need.
type struck struct {
	s     *scenario
	ended <-chan struct{} // the run that was under way
}

var killed = fault{name: "kill -9"}

// cutSSH ends every SSH session on a host: its commands go on and nobody
// hears of them.
func cutSSH(name string) fault {
	return fault{name: "SSH to " + name + " cut", strike: func(ctx context.Context, k struck) error {
		// In a session of its own, for ours is cut as well.
		_, err := k.s.pg.hosts[name].run(ctx, `setsid -f pkill -KILL -f '^sshd: .*@' >/dev/null 2>&1; sleep 1`)
		if err == nil {
			return errors.New("the SSH session that cut all sessions was not cut itself")
		}
		return nil
	}}
}

// reboot cuts a host's power for a while.
func reboot(name string, serves bool, off time.Duration) fault {
	return fault{name: fmt.Sprintf("%s without power for %.0f s", name, off.Seconds()), serves: serves, strike: func(ctx context.Context, k struck) error {
		if err := k.s.power(ctx, "stop", name); err != nil {
			return err
		}
		pause(ctx, off)
		return k.s.power(ctx, "start", name)
	}}
}

// power is playground stop and start, from outside of a test's own goroutine.
func (s *scenario) power(ctx context.Context, verb, name string) error {
	p, err := s.bin.start(ctx, nil, "playground", verb, "--name", s.name, name)
	if err != nil {
		return err
	}
	if r := p.finish(); r.code != 0 {
		return fmt.Errorf("playground %s %s: exit code %d: %s", verb, name, r.code, tail(r.stderr, 3))
	}
	return nil
}

// pauseEtcd stops the member on a host from running for a while, without
// closing its connections.
func pauseEtcd(name string, length time.Duration) fault {
	return fault{name: fmt.Sprintf("etcd on %s paused for %.0f s", name, length.Seconds()), serves: true, strike: func(ctx context.Context, k struck) error {
		h := k.s.pg.hosts[name]
		if _, err := h.run(ctx, "pkill -STOP -x etcd"); err != nil {
			return err
		}
		pause(ctx, length)
		_, err := h.run(ctx, "pkill -CONT -x etcd")
		return err
	}}
}

// cutNetwork has the playground's bridge drop everything from and to a host
// for a while. The host's own link stays up: nobody is told.
func cutNetwork(name string, length time.Duration) fault {
	return fault{name: fmt.Sprintf("%s cut off the network for %.0f s", name, length.Seconds()), serves: true, strike: func(ctx context.Context, k struck) error {
		ns, port, err := k.s.bridgePort(ctx, name)
		if err != nil {
			return err
		}
		set := func(state string) error {
			out, err := exec.CommandContext(ctx, "bridge", "-n", ns, "link", "set", "dev", port, "state", state).CombinedOutput()
			if err != nil {
				return fmt.Errorf("setting the port of %s on the bridge to %s: %w: %s", name, state, err, out)
			}
			return nil
		}
		if err := set("disabled"); err != nil {
			return err
		}
		pause(ctx, length)
		return set("forwarding")
	}}
}

// bridgePort finds where on the playground's bridge a host is, by its
// hardware address.
func (s *scenario) bridgePort(ctx context.Context, name string) (ns, port string, err error) {
	found, err := filepath.Glob("/run/netns/migrate-" + s.name + "-*")
	if err != nil || len(found) != 1 {
		return "", "", fmt.Errorf("the playground has the network namespaces %v, not one", found)
	}
	ns = filepath.Base(found[0])
	address, err := s.pg.hosts[name].run(ctx, "cat /sys/class/net/host0/address")
	if err != nil {
		return "", "", err
	}
	table, err := exec.CommandContext(ctx, "bridge", "-n", ns, "fdb", "show").Output()
	if err != nil {
		return "", "", fmt.Errorf("reading the bridge's addresses: %w", err)
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == strings.TrimSpace(address) && f[1] == "dev" {
			return ns, f[2], nil
		}
	}
	return "", "", fmt.Errorf("the bridge knows no port of %s", name)
}

// fullDisk leaves no room in a folder of a host, until the run has ended. What
// was in the folder is not to be seen meanwhile.
func fullDisk(name, folder string) fault {
	return fault{name: "no space in " + folder + " of " + name, stops: true, strike: func(ctx context.Context, k struck) error {
		h := k.s.pg.hosts[name]
		q := "'" + folder + "'"
		if _, err := h.run(ctx, "mkdir -p "+q+" && mount -t tmpfs -o size=64k chaos "+q+" && { cat /dev/zero > "+q+"/full || true; } 2>/dev/null"); err != nil {
			return err
		}
		untilEnded(ctx, k)
		_, err := h.run(ctx, "umount "+q)
		return err
	}}
}

// fullJournal leaves no room where the journal is for a while. Whether that
// stops a run is up to the journal: a file with free pages can be written for a
// whole phase without asking the disk for more.
func fullJournal(length time.Duration) fault {
	return fault{name: fmt.Sprintf("the journal's disk full for %.0f s", length.Seconds()), strike: func(ctx context.Context, k struck) error {
		file := filepath.Join(filepath.Dir(k.s.journal), "full")
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		defer f.Close()
		// Large blocks first: the run goes on meanwhile.
		for _, size := range []int{1 << 20, 4096} {
			for block := make([]byte, size); err == nil; {
				_, err = f.Write(block)
			}
			if !errors.Is(err, syscall.ENOSPC) {
				return err
			}
			err = nil
		}
		pause(ctx, length)
		return os.Remove(file)
	}}
}

// biting bounds how long a fault that stops a run may take to do so.
const biting = 2 * time.Minute

func untilEnded(ctx context.Context, k struck) {
	select {
	case <-k.ended:
	case <-time.After(biting):
	case <-ctx.Done():
	}
}

// pause keeps a fault up for its time.
func pause(ctx context.Context, length time.Duration) {
	select {
	case <-time.After(length):
	case <-ctx.Done():
	}
}

// watchdogLimit is more than the node's timer (420 s), its three questions
// and the start of an API server.
const watchdogLimit = 10 * time.Minute

// abandoned is the worst that can become of the restart of the first API
// server: its manifest is changed, the new one does not come up, and the
// operator's machine is gone. The second API server carries the clients, and
// the timer on the node has to put the manifest that worked back. The new one
// gets an argument that it does not know: what keeps it from its etcd would
// keep the second one from it, too.
func abandoned() fault {
	return fault{name: "the operator gone and the new API server broken", kills: true, limit: watchdogLimit, strike: func(ctx context.Context, k struck) error {
		h := k.s.pg.hosts["cp1"]
		// By way of a file that the kubelet does not look at.
		was, err := h.run(ctx, `cd /etc/kubernetes/manifests && sed 's/^\( *\)- kube-apiserver$/&\n\1- --no-such-argument=1/' kube-apiserver.yaml > .broken && mv .broken kube-apiserver.yaml && grep -e no-such-argument -e etcd-servers kube-apiserver.yaml`)
		if err != nil {
			return err
		}
		said, err := untilPutBack(ctx, h)
		k.s.top.Logf("the new manifest had %s\nthe node says: %s", strings.Join(strings.Fields(was), " "), said)
		return err
	}}
}

// untilPutBack waits until the timer has put the manifest back and the API
// server that it describes is ready, and returns what the node's journal says.
func untilPutBack(ctx context.Context, h host) (string, error) {
	script := `journalctl -b --no-pager -o cat | grep 'migrate: ' | tail -n 3
grep -o 'etcd-servers=.*' /etc/kubernetes/manifests/kube-apiserver.yaml
kubectl --request-timeout 5s --kubeconfig /etc/kubernetes/admin.conf --server https://127.0.0.1:6443 --tls-server-name ` + h.address + ` get --raw /readyz 2>&1 || true`
	var said string
	for {
		out, err := h.run(ctx, script)
		if err == nil {
			said = strings.TrimSpace(out)
		}
		if strings.Contains(said, "putting the old manifest back") && strings.HasSuffix(said, "ok") {
			return said, nil
		}
		select {
		case <-ctx.Done():
			return said, fmt.Errorf("the node's timer did not put the manifest back, or its API server is not ready; the node says: %s", said)
		case <-time.After(5 * time.Second):
		}
	}
}

// watchdogShot is when: the new manifest is there, and is waited for.
func watchdogShot(leg legID) shot {
	return shot{point{leg, "etcd/repoint-apiserver", "cp1", "step-waiting", 0}, abandoned()}
}

// faults are those of each leg, with the steps at which they strike. They are
// far enough apart that one has passed before the next comes.
func faults(leg legID) []shot {
	at := func(step, target, event string, after time.Duration, f fault) shot {
		return shot{point{leg, step, target, event, after}, f}
	}
	const ms = time.Millisecond
	switch leg {
	case legID{1, false}:
		return []shot{
			at("loadbalancer/serving-certificate", "cp1", "step-started", 100*ms, cutSSH("cp1")),
			at("loadbalancer/kubeadm-config", "cluster", "step-started", 0, reboot("lb1", true, 20*time.Second)),
			at("loadbalancer/kubelet", "w2", "step-started", 300*ms, reboot("w2", false, 2*time.Second)),
		}
	case legID{2, false}:
		return []shot{
			at("etcd/user", "e3", "step-done", 0, fullDisk("e1", "/usr/local/bin")),
			at("etcd/binary", "e2", "step-started", 150*ms, cutSSH("e2")),
			at("etcd/certificates", "e2", "step-started", 0, reboot("cp1", true, 2*time.Second)),
			at("etcd/promote", "e1", "step-done", 0, pauseEtcd("e1", 15*time.Second)),
			at("etcd/start-member", "e3", "step-started", 300*ms, reboot("e3", false, 2*time.Second)),
			at("etcd/move-leader", "cluster", "step-done", 0, cutNetwork("e2", 15*time.Second)),
			at("etcd/overlap-back", "cp1", "step-started", 0, fullJournal(10*time.Second)),
			at("etcd/overlap-end", "cp1", "step-started", 0, reboot("lb1", true, 20*time.Second)),
			at("etcd/retire-manifest", "cp1", "step-started", 100*ms, cutSSH("cp1")),
		}
	case legID{3, false}:
		return []shot{
			at("controlplane/host-files", "cp2", "step-started", 0, pauseEtcd("e3", 15*time.Second)),
			at("controlplane/join", "cp2", "step-started", 4*time.Second, reboot("cp2", false, 2*time.Second)),
			at("controlplane/join", "cp3", "step-started", 3*time.Second, cutSSH("cp3")),
		}
	case legID{2, true}:
		return []shot{
			at("etcd/start-member", "e3", "step-undoing", 100*ms, cutSSH("e3")),
			// From here on there are two voters, until e1 goes.
			at("etcd/promote", "e2", "step-undone", 0, cutNetwork("e1", 15*time.Second)),
		}
	case legID{3, true}:
		return []shot{
			at("controlplane/join", "cp3", "step-undoing", 3*time.Second, cutSSH("cp3")),
			at("controlplane/join", "cp2", "step-undoing", 3*time.Second, reboot("cp2", false, 2*time.Second)),
		}
	}
	return nil
}
