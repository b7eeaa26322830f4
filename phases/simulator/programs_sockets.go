package simulator

import (
	"errors"
	"strings"
	"time"

	"mvdan.cc/sh/v3/interp"
)

// errHangs is the end of a program that had none.
var errHangs = errors.New("it hangs")

// timeout plays `timeout SECONDS PROGRAM …`: what does not end by itself is ended
// before it has said anything.
func timeout(p program) error {
	run := p.host.world.parts.program(p.host, p.args[1])
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
