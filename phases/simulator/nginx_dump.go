package simulator

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/interp"

	"hamigrate/migrate/remote"
)

// dumpNginx plays `nginx -T`: each file that it reads once, in the order in
// which it meets them, or none where it refuses them.
func dumpNginx(p program) error {
	if _, err := p.host.parseNginx(); err != nil {
		return fmt.Errorf("[emerg] %w\nnginx: configuration file %s test failed", err, nginxConf)
	}
	seen := map[string]bool{}
	var show func(file string)
	show = func(file string) {
		if seen[file] {
			return
		}
		seen[file] = true
		text := p.host.read(file)
		p.out("# configuration file %s:\n%s\n", file, text)
		for _, m := range nginxInclude.FindAllStringSubmatch(text, -1) {
			pattern := m[2]
			if !path.IsAbs(pattern) {
				pattern = path.Join(path.Dir(nginxConf), pattern)
			}
			for _, f := range p.host.glob(pattern) {
				show(f)
			}
		}
	}
	show(nginxConf)
	return nil
}

// unshare plays `unshare -m sh -c SCRIPT`, where the script puts a copy of
// /etc/nginx over it: what it does with files there is gone with it. What it does
// elsewhere has happened to the host.
func unshare(p program) error {
	if len(p.args) == 2 && p.args[1] == "true" {
		return nil
	}
	if len(p.args) != 4 || strings.Join(p.args[:3], " ") != "-m sh -c" {
		return fmt.Errorf("%q is not played", p.args)
	}
	parsed, err := p.host.world.memo.script(p.args[3])
	if err != nil {
		return err
	}
	h := p.host
	base := h.Real(path.Dir(nginxConf))
	files, folders, times := h.Entries(), maps.Clone(h.folders), maps.Clone(h.mtimes)
	made := h.allFolders("/")
	elsewhere := func(name string) bool {
		if name == base || strings.HasPrefix(name, base+"/") {
			return false
		}
		h.world.never("trying out a configuration on %s changed %s", h.Name(), name)
		return true
	}
	defer func() {
		now := h.Entries()
		for name := range now {
			if _, was := files[name]; !was && !elsewhere(name) {
				h.Delete(name)
			}
		}
		for _, dir := range h.allFolders("/") {
			if !contains(made, dir) && !elsewhere(dir) {
				h.Delete(dir)
			}
		}
		for name, f := range files {
			if now, there := now[name]; (!there || !sameFile(now, f)) && !elsewhere(name) {
				h.Delete(name)
				if f.Mode&fs.ModeSymlink != 0 {
					h.Link(name, string(f.Data))
				} else {
					h.Put(f)
				}
			}
		}
		h.folders, h.mtimes = folders, times
		p.session.private = false
	}()
	runner, err := p.session.runner(p.Stdin, p.Stdout, p.Stderr)
	if err != nil {
		return err
	}
	return runner.Run(p.ctx, parsed)
}

// mount plays the two calls that trying out a configuration needs. Not every
// `unshare` makes the mounts private (busybox's does not), and one over
// /etc/nginx that others see takes the running nginx's files away.
func mount(p program) error {
	switch args := strings.Join(p.args, " "); {
	case args == "--make-rprivate /":
		p.session.private = true
	case !p.session.private:
		p.host.world.never("on %s others see the mount %q", p.host.Name(), args)
	}
	return nil
}

func contains(list []string, one string) bool {
	for _, s := range list {
		if s == one {
			return true
		}
	}
	return false
}

func sameFile(a, b remote.File) bool {
	return bytes.Equal(a.Data, b.Data) && a.Mode == b.Mode && a.Owner == b.Owner
}

// copyInPlace plays `cp -a . FOLDER` onto itself: in a mount namespace the copy
// has the place of the original.
func copyInPlace(p program) bool { return strings.HasPrefix(strings.Join(p.args, " "), "-a . ") }

var headBytes = regexp.MustCompile(`^-c (\d+)$`)

// fromByte plays `tail -c +N`.
func fromByte(p program) (bool, error) {
	if len(p.args) < 3 || p.args[0] != "-c" {
		return false, nil
	}
	n, err := strconv.Atoi(strings.TrimPrefix(p.args[1], "+"))
	if err != nil {
		return true, err
	}
	text, err := p.input(p.args[2:])
	p.out("%s", text[min(max(n-1, 0), len(text)):])
	return true, err
}

// firstBytes plays `head -c N`.
func firstBytes(p program) (bool, error) {
	m := headBytes.FindStringSubmatch(strings.Join(p.args, " "))
	if m == nil {
		return false, nil
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return true, err
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(p.Stdin, data); err != nil {
		return true, fmt.Errorf("reading %d bytes: %w", n, err)
	}
	_, err = p.Stdout.Write(data)
	return true, err
}

// nginxHelper returns a program that trying out a configuration needs.
func nginxHelper(name string) func(program) error {
	switch name {
	case "unshare":
		return unshare
	case "mount":
		return mount
	case "du":
		return func(p program) error { p.out("120\t.\n"); return nil }
	case "getenforce":
		return func(p program) error {
			if len(p.host.hardware.Forbidden) == 0 {
				return interp.ExitStatus(127)
			}
			p.out("Enforcing\n")
			return nil
		}
	}
	return nil
}
