package nodeprobe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"

	"hamigrate/migrate/remote"
)

const (
	programDir = "/var/lib/migrate/probe"
	program    = programDir + "/migrate"
)

// install copies this program to a node, unless the same bytes are there.
func (p *Probes) install(ctx context.Context, h remote.Host, data []byte) error {
	out, err := h.Look(ctx, remote.Command{Script: "uname -sm; sha256sum " + program + " 2>/dev/null || true"})
	if err != nil {
		return fmt.Errorf("looking at %s: %w", h.Name(), err)
	}
	machine, sum, _ := strings.Cut(out, "\n")
	if err := runsOn(machine); err != nil {
		return fmt.Errorf("copying this program to %s: %w", h.Name(), err)
	}
	if strings.HasPrefix(sum, p.digest) {
		return nil
	}
	return h.WriteFile(ctx, remote.File{Path: program, Data: data, Mode: 0o700, Owner: "root:root"})
}

// runsOn compares what `uname -sm` says with what this program was built for.
func runsOn(machine string) error {
	names := map[string]string{"Linux x86_64": "linux/amd64", "Linux aarch64": "linux/arm64", "Linux armv7l": "linux/arm", "Linux ppc64le": "linux/ppc64le", "Linux s390x": "linux/s390x"}
	have := runtime.GOOS + "/" + runtime.GOARCH
	if names[strings.TrimSpace(machine)] != have {
		return fmt.Errorf("this program is built for %s and the host is %s", have, strings.TrimSpace(machine))
	}
	return nil
}

// uninstall takes away what install and the agent made.
func uninstall(ctx context.Context, h remote.Host) error {
	if err := errors.Join(h.Remove(ctx, program), h.Remove(ctx, socket)); err != nil {
		return fmt.Errorf("removing the probe from %s: %w", h.Name(), err)
	}
	script := "rmdir " + programDir + " " + socketDir + " 2>/dev/null || true"
	if _, err := h.Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("removing the probe from %s: %w", h.Name(), err)
	}
	if names, err := h.List(ctx, socketDir); err == nil {
		return fmt.Errorf("removing the probe from %s: %s still holds %s", h.Name(), socketDir, strings.Join(names, ", "))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the probe from %s: %w", h.Name(), err)
	}
	return nil
}
