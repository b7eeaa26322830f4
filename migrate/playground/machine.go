package playground

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hamigrate/migrate/remote"
)

// bootTimeout bounds the boot of one host; alone it takes 2 seconds.
const bootTimeout = 2 * time.Minute

// Files of a host below hostDir.
const (
	rootDir    = "root"    // where its root is mounted, in its own mount namespace
	upperDir   = "upper"   // what it changed of the base
	workDir    = "work"    // overlayfs's own
	varDir     = "var"     // its /var, a plain folder: overlay file systems do not nest
	bootScript = "boot"    // what starts it, and starts it again when it reboots
	runScript  = "run"     // what becomes its systemd-nspawn
	consoleLog = "console" // what it said while booting
)

func (p *Playground) hostDir(h Host) string { return filepath.Join(p.dir, "hosts", h.Name) }

func (p *Playground) hostFile(h Host, name string) string {
	return filepath.Join(p.hostDir(h), name)
}

// rootFile is where this machine finds a file of a host's root that the host
// or up wrote: not what comes from the base.
func (p *Playground) rootFile(h Host, path string) string {
	if rest, ok := strings.CutPrefix(path, "/var/"); ok {
		return p.hostFile(h, filepath.Join(varDir, rest))
	}
	return p.hostFile(h, filepath.Join(upperDir, path))
}

// layerDir is an overlay layer with the kubelet, kubeadm and kubectl of this
// playground; a host that changes them gets a copy of its own.
func (p *Playground) layerDir() string { return filepath.Join(p.dir, "kubernetes") }

// rebooted is systemd-nspawn's exit status when its host rebooted and it is
// told to leave this machine's units alone (nspawn.c, run_container: with
// --keep-unit it leaves the rest to whoever started it).
const rebooted = 133

// boot renders what starts a host, and starts it again when it reboots. The
// shell mounts the root where no one else sees it. It stays outside of the
// host's groups, and empties those between two starts: what a group's last
// process left in it may keep the next one out.
func (p *Playground) boot(h Host, groups []string) string {
	lower := p.base(h)
	if h.kubernetes() {
		lower = p.layerDir() + ":" + lower
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, p.hostFile(h, upperDir), p.hostFile(h, workDir))
	var empty strings.Builder
	for _, g := range groups {
		fmt.Fprintf(&empty, "\tempty %s\n", remote.Quote(g))
	}
	return "set -e\n" + remote.Cmd("mount", "-t", "overlay", "migrate", "-o", options, p.hostFile(h, rootDir)).Script + `
empty() {
	for try in $(seq 300); do
		find "$1" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null || true
		if [ -z "$(find "$1" -mindepth 1 -type d)" ] && [ -z "$(cat "$1/cgroup.procs")" ]; then
			if [ -e "$1/cgroup.controllers" ]; then rmdir "$1" && mkdir "$1"; fi
			return
		fi
		sleep 0.1
	done
	echo "earlier processes are left in $1" >&2
	exit 1
}
while :; do
	code=0
	` + remote.Cmd("/bin/sh", p.hostFile(h, runScript)).Script + ` || code=$?
	[ "$code" = ` + strconv.Itoa(rebooted) + ` ] || exit "$code"
` + empty.String() + `done
`
}

// script renders what becomes a host's systemd-nspawn: the shell process joins
// the host's cgroups first.
func (p *Playground) script(h Host, groups []string) string {
	var s strings.Builder
	s.WriteString("set -e\n")
	for _, g := range groups {
		fmt.Fprintf(&s, "echo $$ > %s\n", remote.Quote(filepath.Join(g, "cgroup.procs")))
	}
	s.WriteString("exec " + remote.Cmd(
		"systemd-nspawn",
		// No service manager of this machine is needed, and the cgroups are
		// those joined above.
		"--register=no", "--keep-unit",
		"--machine="+p.cgroupName(h), "--hostname="+h.Name,
		"--directory="+p.hostFile(h, rootDir), "--bind="+p.hostFile(h, varDir)+":/var",
		"--network-bridge="+bridge,
		"--resolv-conf=off", "--timezone=off", "--link-journal=no",
		// What containerd, runc, kubelet and kube-proxy need.
		"--capability=all", "--system-call-filter=@known bpf keyctl @module @raw-io @mount @keyring",
		"--bind=/dev/kmsg", "--property=DeviceAllow=/dev/kmsg rwm",
		"--boot",
	).Script + "\n")
	return s.String()
}

// startHost boots a host and returns when it has. What is left of a start
// before is removed first: a host that switched itself off leaves its groups,
// and one whose systemd-nspawn was killed goes on without it.
func (p *Playground) startHost(ctx context.Context, h Host) error {
	if err := p.powerOff(ctx, h); err != nil {
		return fmt.Errorf("removing what is left of %s: %w", h.Name, err)
	}
	groups, err := p.makeCgroups(ctx, h)
	if err != nil {
		return fmt.Errorf("making the cgroups of %s: %w", h.Name, err)
	}
	boot := p.hostFile(h, bootScript)
	for path, text := range map[string]string{boot: p.boot(h, groups), p.hostFile(h, runScript): p.script(h, groups)} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			return err
		}
	}
	console, err := os.Create(p.hostFile(h, consoleLog))
	if err != nil {
		return err
	}
	defer console.Close()
	// A session of its own, so that a Ctrl-C meant for us does not reach it.
	cmd := exec.Command("nsenter", "--net="+p.netns(), "unshare", "--mount", "--propagation", "private", "/bin/sh", boot)
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", h.Name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // that it ended is all there is to know: the console has the rest
		close(ended)
	}()
	if err := p.waitBooted(ctx, h, ended); err != nil {
		words, _ := os.ReadFile(console.Name())
		return fmt.Errorf("booting %s: %w: %s", h.Name, err, lastLines(string(words), 5))
	}
	return nil
}

// waitBooted waits until the host's service manager has done what it does at
// boot and its sshd answers.
func (p *Playground) waitBooted(ctx context.Context, h Host, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	err := poll(ctx, bootTimeout, "sshd", func() (bool, error) {
		select {
		case <-ended:
			return false, errors.New("the host ended")
		default:
			return sshAnswers(ctx, h) == nil, nil
		}
	})
	if err != nil {
		return err
	}
	// Status 1 with a word is the answer "degraded", which a host whose
	// kubelet waits for kubeadm may well be; no word: not ready for questions.
	return poll(ctx, bootTimeout, "systemd", func() (bool, error) {
		out, _ := p.exec(ctx, h, "", "systemctl is-system-running --wait")
		word := strings.TrimSpace(out)
		return word == "running" || word == "degraded", nil
	})
}

// exec runs a shell script on a host, as root, and returns its standard
// output. It enters the host's namespaces, so it works without sshd.
func (p *Playground) exec(ctx context.Context, h Host, input, script string) (string, error) {
	_, leader := p.processes(h)
	if leader == 0 {
		return "", &UserError{
			Problem: fmt.Sprintf("%s of playground %s is off", h.Name, p.state.Name),
			Remedy:  fmt.Sprintf("run `migrate playground start %s --name %s`", h.Name, p.state.Name),
		}
	}
	out, err := runInput(ctx, input, "nsenter", "--target", strconv.Itoa(leader),
		"--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd",
		"env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
		"KUBECONFIG=/etc/kubernetes/admin.conf", "/bin/sh", "-c", script)
	if err != nil {
		return out, fmt.Errorf("on %s: %w", h.Name, err)
	}
	return out, nil
}

// running says whether the host has a systemd-nspawn, or is about to have one.
func (p *Playground) running(h Host) bool {
	holders, _ := p.processes(h)
	return len(holders) > 0
}

// alive says whether the host has a process, be it one that no systemd-nspawn
// holds any more.
func (p *Playground) alive(h Host) bool {
	if p.running(h) {
		return true
	}
	found, _ := groups(p.cgroupName(h)) // none is known where the mounts cannot be read
	return slices.ContainsFunc(found, func(g string) bool { return len(inGroup(g)) > 0 })
}

// processes finds a host's processes on this machine: the holders are
// systemd-nspawn or what is about to become it, the leader is the host's own
// process 1 (0: not there yet). They are told by their arguments, so no file
// with process numbers can be stale.
func (p *Playground) processes(h Host) (holders []int, leader int) {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, 0
	}
	directory := "--directory=" + p.hostFile(h, rootDir)
	boot, run := p.hostFile(h, bootScript), p.hostFile(h, runScript)
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		data, err := os.ReadFile(filepath.Join(name, "cmdline"))
		if err != nil || len(data) == 0 { // gone, or a zombie
			continue
		}
		args := strings.Split(string(data), "\x00")
		switch {
		case filepath.Base(args[0]) == "systemd-nspawn" && slices.Contains(args, directory):
			holders = append(holders, pid)
			if child := firstChild(pid); child != 0 && isInit(child) {
				leader = child
			}
		case slices.Contains([]string{"nsenter", "unshare", "sh"}, filepath.Base(args[0])) && (slices.Contains(args, boot) || slices.Contains(args, run)):
			holders = append(holders, pid)
		}
	}
	return holders, leader
}

func firstChild(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	word, _, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	child, err := strconv.Atoi(word)
	if err != nil {
		return 0
	}
	return child
}

// isInit says whether a process is number 1 of a process namespace below
// ours: nspawn's child is its own helper until the host's systemd runs.
func isInit(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			numbers := strings.Fields(rest)
			return len(numbers) > 1 && numbers[len(numbers)-1] == "1"
		}
	}
	return false
}

// powerOff ends a host's processes at once, also those that no systemd-nspawn
// holds any more, and waits until the last is gone;
// the mounts of its mount namespace go with it. An orderly shutdown would
// take many seconds and is not what a power cut is like.
func (p *Playground) powerOff(ctx context.Context, h Host) error {
	// nspawn ends with its child and tidies up after itself; it is given the
	// time to, and ended as well only if it does not.
	var grace time.Time
	err := poll(ctx, 30*time.Second, h.Name+" to stop", func() (bool, error) {
		holders, leader := p.processes(h)
		if len(holders) == 0 {
			return true, nil
		}
		if leader != 0 {
			grace = time.Now().Add(10 * time.Second)
			return false, kill(leader)
		}
		if time.Now().Before(grace) {
			return len(holders) == 0, nil
		}
		for _, pid := range holders {
			if err := kill(pid); err != nil {
				return false, err
			}
		}
		return len(holders) == 0, nil
	})
	if err != nil {
		return err
	}
	for _, dir := range []string{"propagate", "unix-export"} {
		if err := os.RemoveAll(filepath.Join("/run/systemd/nspawn", dir, p.cgroupName(h))); err != nil {
			return err
		}
	}
	return removeCgroups(ctx, p.cgroupName(h))
}

func kill(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// down removes everything. Every part says nothing when it is not there.
func (p *Playground) down(ctx context.Context) error {
	p.events("switching the hosts off")
	if err := each(ctx, p.hosts, len(p.hosts), p.powerOff); err != nil {
		return err
	}
	if err := removeCgroups(ctx, p.state.id()+".*"); err != nil {
		return err
	}
	p.events("removing the network and the folder")
	if err := p.stopNetwork(ctx); err != nil {
		return err
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// The state goes last: until then another down finds what is left.
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return rank(a) - rank(b) })
	for _, e := range entries {
		if e.Name() == lockFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(p.dir, e.Name())); err != nil {
			return fmt.Errorf("removing the playground's folder: %w", err)
		}
	}
	return nil
}

func rank(e os.DirEntry) int {
	if e.Name() == stateFile {
		return 1
	}
	return 0
}
