package simulator

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

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

// unixSockets is /proc/net/unix: somebody listens on each socket but on those
// that say so of themselves. A connection to one has the same name and other
// flags.
func (h *Host) unixSockets() string {
	var b strings.Builder
	b.WriteString("Num       RefCount Protocol Flags    Type St Inode Path\n0000000000000000: 00000003 00000000 00000000 0001 03 18430\n")
	for name, f := range h.Entries() {
		if !isSocket(name) {
			continue
		}
		fmt.Fprintf(&b, "0000000000000000: 00000003 00000000 00000000 0001 03 18436 %s\n", name)
		if string(f.Data) != "dead" {
			fmt.Fprintf(&b, "0000000000000000: 00000002 00000000 00010000 0001 01 18435 %s\n", name)
		}
	}
	return b.String()
}

// errHangs is the end of a program that had none.
var errHangs = errors.New("it hangs")

// timeout plays `timeout SECONDS PROGRAM …`: what does not end by itself is ended
// before it has said anything.
func timeout(p program) error {
	run := findProgram(p.host, p.args[1])
	if run == nil {
		return interp.ExitStatus(127)
	}
	limit, err := time.ParseDuration(p.args[0] + "s")
	if err != nil {
		return err
	}
	p.args = p.args[2:]
	if err := run(p); !errors.Is(err, errHangs) {
		return err
	}
	p.sleep(limit)
	return interp.ExitStatus(124)
}

// ctr plays `ctr version` and the list of images.
func ctr(p program) error {
	flags, words := p.options("--address", "-n")
	if address, ok := flags["--address"]; ok && p.host.read(address) == "deaf" {
		return errors.New("failed to dial: context deadline exceeded")
	}
	if p.host.read(flags["--address"]) == "hung" { // it takes connections, and no more
		return errHangs
	}
	if strings.Join(words, " ") == "images ls" {
		p.out("%s", p.host.read(containerdImages))
	}
	return nil
}
