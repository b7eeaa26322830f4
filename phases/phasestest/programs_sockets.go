package phasestest

import (
	"errors"
	"io/fs"
	"strings"

	"mvdan.cc/sh/v3/interp"
)

// isSocket: what is named like one is one here; files are all that a host has.
func isSocket(p string) bool { return strings.HasSuffix(p, ".sock") }

// withSocket gives a file that is one the type of a socket.
func withSocket(p string, i info) info {
	if isSocket(p) && !i.IsDir() {
		i.mode |= fs.ModeSocket
	}
	return i
}

// socketListeners plays `ss -Hlx`: somebody listens on each socket but on those
// that say so of themselves.
func socketListeners(p program) {
	for name, f := range p.host.Snapshot() {
		if isSocket(name) && string(f.Data) != "dead" {
			p.out("u_str LISTEN 0      4096   %s 18435            * 0\n", name)
		}
	}
}

// timeout plays `timeout SECONDS PROGRAM …` of programs that end in time.
func timeout(p program) error {
	run := findProgram(p.host, p.args[1])
	if run == nil {
		return interp.ExitStatus(127)
	}
	p.args = p.args[2:]
	return run(p)
}

// ctr plays `ctr version` and the list of images.
func ctr(p program) error {
	flags, words := p.options("--address", "-n")
	if address, ok := flags["--address"]; ok && p.host.read(address) == "deaf" {
		return errors.New("failed to dial: context deadline exceeded")
	}
	if strings.Join(words, " ") == "images ls" {
		p.out("%s", p.host.read(containerdImages))
	}
	return nil
}
