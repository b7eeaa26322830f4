package playground

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	debianRelease = "bookworm"
	newerRelease  = "trixie"
	// basePackages are what a host of any role has; nothing needs Python.
	basePackages = "systemd systemd-sysv dbus openssh-server sudo iproute2 iptables nftables conntrack ethtool socat " +
		"containerd runc containernetworking-plugins ca-certificates procps kmod util-linux mount curl nginx libnginx-mod-stream haproxy"
	// baseRecipe counts the changes to finishBase.
	baseRecipe = "1"
	baseStamp  = ".packages"
	// fillTimeout bounds the making of one folder of the cache; measured: half
	// a minute at most.
	fillTimeout = 20 * time.Minute
	// making ends the name of a folder beside the one that it will become.
	making = ".making"
)

// base is the root file system below a host's own.
func (p *Playground) base(h Host) string {
	if p.state.veteran() && newer(h) {
		return p.state.NewerBase
	}
	return p.state.Base
}

// ensureBase returns the shared root file system of a Debian release, made on
// first use. Its name holds a digest of the recipe: another recipe makes
// another folder, and one that a running playground has mounted is never
// touched.
func (p *Playground) ensureBase(ctx context.Context, release string) (string, error) {
	recipe := release + "\n" + basePackages + "\n" + baseRecipe + "\n"
	sum := sha256.Sum256([]byte(recipe))
	base := filepath.Join(p.state.CacheDir, "base-"+hex.EncodeToString(sum[:6]))
	return base, p.ensureCached(ctx, base, func(ctx context.Context, made string) error {
		p.events("making the Debian root file system the hosts share (" + release + ", about a minute, once)")
		// In namespaces of its own, so that neither a process nor a mount
		// outlives an interruption.
		if _, err := run(ctx, "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
			"mmdebstrap", "--mode=root", "--variant=minbase", "--include="+strings.ReplaceAll(basePackages, " ", ","),
			release, made); err != nil {
			return err
		}
		if err := finishBase(made); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(made, baseStamp), []byte(recipe), 0o644)
	})
}

// finishBase removes what must differ from host to host, and the start of
// services that not every host has.
func finishBase(base string) error {
	keys, err := filepath.Glob(filepath.Join(base, "etc/ssh/ssh_host_*"))
	if err != nil {
		return err
	}
	wants := filepath.Join(base, "etc/systemd/system/multi-user.target.wants")
	gone := append(keys,
		filepath.Join(base, "etc/machine-id"),
		filepath.Join(wants, "nginx.service"),
		filepath.Join(wants, "haproxy.service"),
		filepath.Join(wants, "containerd.service"),
		filepath.Join(wants, "e2scrub_reap.service"))
	for _, path := range gone {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return os.RemoveAll(filepath.Join(base, "etc/systemd/system/timers.target.wants"))
}

// ensureCached makes a folder of the cache once: make fills a folder beside
// it, which is renamed when whole. One process makes at a time; the others
// wait for it.
func (p *Playground) ensureCached(ctx context.Context, folder string, fill func(ctx context.Context, made string) error) error {
	if exists(folder) {
		return nil
	}
	unlock, err := lock(ctx, folder+making, func() { p.events("waiting for another playground to make " + filepath.Base(folder)) })
	if err != nil {
		return err
	}
	defer unlock()
	if exists(folder) {
		return nil
	}
	made := filepath.Join(folder+making, "root")
	if err := os.RemoveAll(made); err != nil {
		return err
	}
	if err := os.Mkdir(made, 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	if err := fill(ctx, made); err != nil {
		return errors.Join(fmt.Errorf("making %s: %w", filepath.Base(folder), err), os.RemoveAll(made))
	}
	return os.Rename(made, folder)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
