package nodeprobe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"hamigrate/migrate/remote"
)

const (
	// stateDir is what the migration keeps on a host: for root alone, since
	// there are copies of keys beside us.
	stateDir   = "/var/lib/migrate"
	programDir = stateDir + "/probe"
	program    = programDir + "/migrate"
)

// makeFolders is a script. Who is in the SSH user's group may reach the
// socket, and nobody else: an agent does what it is asked.
const makeFolders = `install -d -m 0700 ` + stateDir + ` ` + programDir + ` && install -d -m 0750 -g "${SUDO_GID:-0}" ` + socketDir

// install copies this program to a node, unless the same bytes are there.
func (p *Probes) install(ctx context.Context, n Node, data []byte) error {
	ctx, cancel := within(ctx, installTime)
	defer cancel()
	out, err := n.Host.Look(ctx, remote.Command{Script: "uname -sm; sha256sum " + program + " 2>/dev/null || true"})
	if err != nil {
		return fmt.Errorf("looking at %s: %w", n.Name, err)
	}
	machine, sum, _ := strings.Cut(out, "\n")
	if err := remote.RunsOn(machine); err != nil {
		return fmt.Errorf("copying this program to %s: %w", n.Name, err)
	}
	if l, ok := n.Host.(remote.Limited); ok { // what was not put there need not be taken away
		if err := l.MayChange(ctx); err != nil {
			return fmt.Errorf("copying this program to %s: %w", n.Name, err)
		}
	}
	p.mu.Lock()
	p.touched[n.Name] = true
	p.mu.Unlock()
	if _, err := n.Host.Run(ctx, remote.Command{Script: makeFolders}); err != nil {
		return fmt.Errorf("making folders on %s: %w", n.Name, err)
	}
	if strings.HasPrefix(sum, p.digest) {
		return nil
	}
	return n.Host.WriteFile(ctx, remote.File{Path: program, Data: data, Mode: 0o700, Owner: "root:root"})
}

// uninstall takes away what install and the agent made, and sees that it is
// gone.
func uninstall(ctx context.Context, h remote.Host) error {
	ctx, cancel := within(ctx, uninstallTime)
	defer cancel()
	// The migration's own folder stays where it holds something.
	script := "rm -rf -- " + programDir + " " + socketDir + "; rmdir " + stateDir + " 2>/dev/null || true"
	if _, err := h.Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("removing the probe from %s: %w", h.Name(), err)
	}
	for _, dir := range []string{programDir, socketDir} {
		names, err := h.List(ctx, dir)
		switch {
		case err == nil:
			return fmt.Errorf("removing the probe from %s: %s is still there and holds %q", h.Name(), dir, names)
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("removing the probe from %s: %w", h.Name(), err)
		}
	}
	return nil
}
