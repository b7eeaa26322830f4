package preflight

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// shellHost runs commands by a shell here, with a folder for /var/lib, and kills
// them when their context ends.
type shellHost struct {
	remote.Host
	varLib, bin string
}

func (s shellHost) Run(ctx context.Context, c remote.Command) (string, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", strings.ReplaceAll(c.Script, "/var/lib", s.varLib))
	cmd.Env = append(os.Environ(), "PATH="+s.bin+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("%w: %w", remote.ErrUnknownOutcome, context.Cause(ctx))
	}
	return string(out), err
}

type shellHosts struct{ host remote.Host }

func (s shellHosts) Host(context.Context, cluster.Host) (remote.Host, error) { return s.host, nil }

// TestKilledSyncsLeaveNothing, beside etcd's folder or in it where that is a disk
// of its own; what another look has made stays.
func TestKilledSyncsLeaveNothing(t *testing.T) {
	t.Parallel()
	for name, mounted := range map[string]bool{"beside etcd's folder": false, "in it": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := shellHost{varLib: t.TempDir(), bin: t.TempDir()}
			programs := map[string]string{"dd": ": >" + h.varLib + "/began; exec sleep 60"}
			where := h.varLib
			if mounted {
				programs["grep"], where = "exit 0", strings.Replace(etcdflags.DataDir, "/var/lib", h.varLib, 1)
			}
			for program, script := range programs {
				if err := os.WriteFile(filepath.Join(h.bin, program), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil { //nolint:gosec // it is to be run
					t.Fatal(err)
				}
			}
			others := filepath.Join(where, syncName+".ANOTHER.000001")
			if err := os.MkdirAll(others, 0o700); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() { // the script is in the middle of its writes
				for ctx.Err() == nil {
					if _, err := os.Stat(filepath.Join(h.varLib, "began")); err == nil {
						cancel()
					}
					time.Sleep(10 * time.Millisecond) // between two looks
				}
			}()
			defer cancel()
			w := phases.NewAccess(cluster.Spec{ControlPlane: cluster.ControlPlane{First: cluster.Host{Name: "cp1"}}}, shellHosts{h})
			if _, err := syncs(ctx, Scene{Reader: w.Reader("cp1")}, w.Writer("cp1")); !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
			if left, err := filepath.Glob(filepath.Join(where, syncName+"*")); err != nil || len(left) != 1 || left[0] != others {
				t.Errorf("left is %q, %v", left, err)
			}
		})
	}
}
