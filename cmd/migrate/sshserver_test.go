package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"
)

// cmdSSHHost: ssh-host PREFIX KIND starts an SSH server until the script's
// end, and sets PREFIX_PORT, PREFIX_KEY (as known_hosts has it) and
// PREFIX_FINGERPRINT. A server of the kind "refusing" lets nobody in, a
// "silent" one says nothing at all, a "hanging" one lets everybody in and runs
// nothing, and one with a "shell" lets everybody in
// who has the key in the file authorized (anybody where there is none) and
// runs commands on this machine, with the script's folder bin before its PATH.
func cmdSSHHost(ts *testscript.TestScript, _ bool, args []string) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	ts.Check(err)
	signer, err := ssh.NewSignerFromKey(key)
	ts.Check(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ctx, stop := context.WithCancel(context.Background())
	ts.Defer(func() { stop(); l.Close() })
	work := ts.MkAbs(".")
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		known, err := os.ReadFile(filepath.Join(work, "authorized"))
		fits := err != nil || strings.Contains(string(known), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
		if args[1] == "shell" && fits || args[1] == "hanging" {
			return nil, nil
		}
		return nil, errors.New("nobody comes in here")
	}}
	config.AddHostKey(signer)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { conn.Close() })
			if err := os.WriteFile(filepath.Join(work, "connected"), nil, 0o600); err != nil {
				ts.Logf("%v", err) // the script that waits for it fails
			}
			if args[1] != "silent" {
				go serveShell(ctx, conn, config, work, args[1] == "hanging")
			}
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0]+"_PORT", port)
	ts.Setenv(args[0]+"_KEY", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))))
	ts.Setenv(args[0]+"_FINGERPRINT", ssh.FingerprintSHA256(signer.PublicKey()))
}

// serveShell serves one connection, if its client may log in.
func serveShell(ctx context.Context, conn net.Conn, config *ssh.ServerConfig, work string, hangs bool) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for open := range channels {
		if open.ChannelType() != "session" {
			open.Reject(ssh.Prohibited, "sessions only") //nolint:errcheck // the client is told or gone
			continue
		}
		channel, requests, err := open.Accept()
		if err != nil {
			return
		}
		if hangs {
			go func() {
				for r := range requests {
					r.Reply(true, nil) //nolint:errcheck // the client is told or gone
				}
			}()
			continue
		}
		go serveCommand(ctx, channel, requests, work)
	}
}

func serveCommand(ctx context.Context, channel ssh.Channel, requests <-chan *ssh.Request, work string) {
	defer channel.Close()
	for r := range requests {
		var line struct{ Text string }
		if r.Type != "exec" || ssh.Unmarshal(r.Payload, &line) != nil {
			r.Reply(false, nil) //nolint:errcheck // the client is told or gone
			continue
		}
		r.Reply(true, nil)                                                //nolint:errcheck // the client is told or gone
		if etc := filepath.Join(work, "etc", "kubernetes"); exists(etc) { // a node of its own
			line.Text = strings.ReplaceAll(line.Text, "/etc/kubernetes", etc)
		}
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line.Text)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Join(work, "bin")+":"+os.Getenv("PATH"))
		cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		status := uint32(127)
		if err == nil {
			go func() { io.Copy(in, channel); in.Close() }() //nolint:errcheck // a command need not read its input
			cmd.Wait()                                       //nolint:errcheck // the status says it
			status = uint32(cmd.ProcessState.ExitCode())
		}
		channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status})) //nolint:errcheck // the client is told or gone
		return
	}
}
