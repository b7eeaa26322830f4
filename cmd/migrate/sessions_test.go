package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
)

const sessionSpec = `apiVersion: migrate/v1alpha1
kind: Migration
metadata: {name: small}
spec:
  endpoint: 192.0.2.5:6443
  ssh: {user: root, become: none, knownHostsFile: ./known_hosts, identityFile: ./key, port: %s, timeout: 60s}
  loadBalancer: {hosts: [{name: lb1, address: 192.0.2.5}]}
  etcd: {hosts: [{name: e1, address: 192.0.2.21}, {name: e2, address: 192.0.2.22}, {name: e3, address: 192.0.2.23}]}
  controlPlane:
    first: {name: cp1, address: 192.0.2.11, ssh: {address: 127.0.0.1}}
    joining: [{name: cp2, address: 192.0.2.12}, {name: cp3, address: 192.0.2.13}]
`

const sessionKubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://192.0.2.11:6443"}}]
users: [{name: u, user: {token: abcdef.0123456789abcdef}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`

// startingNode is a folder with a spec whose control-plane node can be logged in to
// and has an API server that does not get ready: a run waits for it for a minute.
func startingNode(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	newKey := func() (ed25519.PrivateKey, ssh.Signer) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		must(err)
		signer, err := ssh.NewSignerFromKey(key)
		must(err)
		return key, signer
	}
	login, _ := newKey()
	_, host := newKey()
	block, err := ssh.MarshalPrivateKey(login, "")
	must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { stop(); l.Close() })
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(host)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { conn.Close() })
			go serveShell(ctx, conn, config, dir, false)
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(err)
	must(os.MkdirAll(filepath.Join(dir, "etc", "kubernetes"), 0o700))
	for name, text := range map[string]string{
		"migrate.yaml": fmt.Sprintf(sessionSpec, port), "key": string(pem.EncodeToMemory(block)),
		"known_hosts":               fmt.Sprintf("[127.0.0.1]:%s %s", port, ssh.MarshalAuthorizedKey(host.PublicKey())),
		"etc/kubernetes/admin.conf": sessionKubeconfig,
	} {
		must(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

// atWork is a run in a session of some kind.
type atWork struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	over chan error
}

// startRun starts `migrate run --yes`, with what prepare changes of that, and waits
// until it waits for the API server.
func startRun(t *testing.T, prepare func(dir string, cmd *exec.Cmd)) *atWork {
	t.Helper()
	program, err := exec.LookPath("migrate")
	if err != nil {
		t.Fatal(err)
	}
	a := &atWork{t: t, dir: startingNode(t), over: make(chan error, 1)}
	a.cmd = exec.Command(program, "run", "--yes")
	a.cmd.Dir = a.dir
	a.cmd.Env = append(os.Environ(), "HOME="+a.dir, "SSH_AUTH_SOCK=")
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if prepare != nil {
		prepare(a.dir, a.cmd)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { a.over <- a.cmd.Wait() }()
	t.Cleanup(func() { a.cmd.Process.Kill() }) //nolint:errcheck // it has ended, as a rule
	a.until(func() bool { return strings.Contains(a.log(), "is not ready; waiting for at most 60 s") }, "it waits")
	return a
}

// until waits for something that is to be seen soon.
func (a *atWork) until(seen func() bool, what string) {
	a.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !seen(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatalf("not seen: %s; the log:\n%s", what, a.log())
		}
	}
}

// log is the log as it is, "" where there is none yet.
func (a *atWork) log() string {
	data, err := os.ReadFile(filepath.Join(a.dir, "migrate.journal.log"))
	if err != nil {
		return ""
	}
	return string(data)
}

func (a *atWork) send(s syscall.Signal) {
	a.t.Helper()
	if err := a.cmd.Process.Signal(s); err != nil {
		a.t.Fatal(err)
	}
}

// stoppedSafely waits for the end. Nothing was changed yet, so the first signal is
// enough: exit code 130, and how it ended is in the log, wherever else it is.
func (a *atWork) stoppedSafely() {
	a.t.Helper()
	select {
	case <-a.over:
	case <-time.After(60 * time.Second):
		a.t.Fatalf("it has not ended; the log:\n%s", a.log())
	}
	if code := a.cmd.ProcessState.ExitCode(); code != 130 {
		a.t.Errorf("%v, exit code %d", a.cmd.ProcessState, code)
	}
	log := a.log()
	for _, want := range []string{"migrate: stopped by a signal: this command has changed nothing on the cluster", "  It ended  before a step was begun",
		"  Changed   nothing, by this command", "  Next      migrate run", `"ended":{"code":130,`} {
		if !strings.Contains(log, want) {
			a.t.Errorf("no %q in the log:\n%s", want, log)
		}
	}
	if strings.Contains(log, "0123456789abcdef") {
		a.t.Errorf("the token of the node's kubeconfig is in the log:\n%s", log)
	}
}

// TestASessionOfAnyKindEndsSafely where the run is told to stop.
func TestASessionOfAnyKindEndsSafely(t *testing.T) {
	t.Parallel()
	full := func(t *testing.T) *os.File {
		f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	// shell runs the command by sh, which is replaced by it.
	shell := func(line string) func(string, *exec.Cmd) {
		return func(_ string, cmd *exec.Cmd) {
			cmd.Args = []string{"sh", "-c", strings.ReplaceAll(line, "MIGRATE", cmd.Path+" run --yes")}
			cmd.Path = "/bin/sh"
		}
	}
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T) func(dir string, cmd *exec.Cmd)
		told    string // what the log has besides
	}{
		{"no terminal, as in CI", func(*testing.T) func(string, *exec.Cmd) { return nil }, ""},
		{"standard input is /dev/null", func(*testing.T) func(string, *exec.Cmd) { return shell("exec MIGRATE </dev/null") }, ""},
		{"standard input is closed", func(*testing.T) func(string, *exec.Cmd) { return shell("exec MIGRATE <&-") }, ""},
		{"all three are closed", func(*testing.T) func(string, *exec.Cmd) { return shell("exec MIGRATE <&- >&- 2>&-") }, ""},
		{"the disk of the output is full", func(t *testing.T) func(string, *exec.Cmd) {
			return func(_ string, cmd *exec.Cmd) { cmd.Stdout, cmd.Stderr = full(t), full(t) }
		}, "standard error can't be written to ("},
		{"no HOME", func(*testing.T) func(string, *exec.Cmd) {
			return func(_ string, cmd *exec.Cmd) {
				cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
			}
		}, ""},
		{"nothing is set, as by cron", func(*testing.T) func(string, *exec.Cmd) {
			return func(_ string, cmd *exec.Cmd) { cmd.Env = []string{"LANG=C"} }
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := startRun(t, c.prepare(t))
			a.send(syscall.SIGTERM)
			a.stoppedSafely()
			if !strings.Contains(a.log(), c.told) {
				t.Errorf("no %q in the log:\n%s", c.told, a.log())
			}
		})
	}
}

// TestCtrlCEndsTheReaderToo: Ctrl-C goes to the whole pipeline, so tee is gone when
// the run says how it ended.
func TestCtrlCEndsTheReaderToo(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	a := startRun(t, func(_ string, cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Stdout, cmd.Stderr = w, w
	})
	w.Close()
	tee := exec.Command("tee", filepath.Join(a.dir, "teed"))
	tee.Stdin = r
	tee.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: a.cmd.Process.Pid}
	if err := tee.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	a.until(func() bool {
		data, err := os.ReadFile(filepath.Join(a.dir, "teed"))
		return err == nil && bytes.Contains(data, []byte("is not ready"))
	}, "tee has read")
	// To the one and then to the other, so that tee is surely gone first.
	if err := tee.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	tee.Wait() //nolint:errcheck // it was ended by the signal
	a.send(syscall.SIGINT)
	a.stoppedSafely()
	teed, err := os.ReadFile(filepath.Join(a.dir, "teed"))
	if err != nil || bytes.Contains(teed, []byte("It ended")) {
		t.Errorf("tee has read to the end, %v:\n%s", err, teed)
	}
	if !strings.Contains(a.log(), "broken pipe") {
		t.Errorf("the log does not say what was not shown:\n%s", a.log())
	}
}

// TestAClosedTerminalStopsSafely: the kernel sends HUP, and nothing can be written
// from then on.
func TestAClosedTerminalStopsSafely(t *testing.T) {
	t.Parallel()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	a := startRun(t, func(_ string, cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	})
	slave.Close()
	if err := master.Close(); err != nil {
		t.Fatal(err)
	}
	a.stoppedSafely()
	if !strings.Contains(a.log(), "standard error can't be written to (") {
		t.Errorf("the log does not say what was not shown:\n%s", a.log())
	}
}

// TestHangupsThatAreIgnored, as nohup has it, do not stop a run; TERM does.
func TestHangupsThatAreIgnored(t *testing.T) {
	t.Parallel()
	a := startRun(t, func(_ string, cmd *exec.Cmd) {
		cmd.Args = []string{"nohup", cmd.Path, "run", "--yes"}
		nohup, err := exec.LookPath("nohup")
		if err != nil {
			t.Skip("there is no nohup here")
		}
		cmd.Path = nohup
	})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, mask, _ := strings.Cut(string(status), "\nSigIgn:")
	mask, _, _ = strings.Cut(strings.TrimSpace(mask), "\n")
	if ignored, err := strconv.ParseUint(mask, 16, 64); err != nil || ignored&(1<<(uint(syscall.SIGHUP)-1)) == 0 {
		t.Errorf("HUP is not ignored (SigIgn %s, %v)", mask, err)
	}
	a.send(syscall.SIGHUP)
	a.send(syscall.SIGTERM)
	a.stoppedSafely()
}

// TestALaptopThatSleeps: what was sent to a process that does not run is done when
// it does again, and what it was at is still so.
func TestALaptopThatSleeps(t *testing.T) {
	t.Parallel()
	a := startRun(t, nil)
	a.send(syscall.SIGSTOP)
	a.until(func() bool {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.cmd.Process.Pid))
		_, rest, _ := bytes.Cut(data, []byte(") "))
		return err == nil && bytes.HasPrefix(rest, []byte("T"))
	}, "it is stopped")
	a.send(syscall.SIGTERM)
	if strings.Contains(a.log(), "stopped by a signal") {
		t.Error("it is stopped and says something")
	}
	a.send(syscall.SIGCONT)
	a.stoppedSafely()
}
