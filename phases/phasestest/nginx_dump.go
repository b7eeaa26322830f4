package phasestest

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

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

// unshare plays `unshare -m sh -c SCRIPT`: what the script does with files is
// gone with it.
func unshare(p program) error {
	if len(p.args) == 2 && p.args[1] == "true" {
		return nil
	}
	if len(p.args) != 4 || strings.Join(p.args[:3], " ") != "-m sh -c" {
		return fmt.Errorf("%q is not played", p.args)
	}
	parsed, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(p.args[3]), "")
	if err != nil {
		return err
	}
	h := p.host
	files, folders, times := h.Snapshot(), maps.Clone(h.folders), maps.Clone(h.mtimes)
	made := h.allFolders("/")
	defer func() {
		for name := range h.Snapshot() {
			if _, was := files[name]; !was {
				h.Delete(name)
			}
		}
		for _, dir := range h.allFolders("/") {
			if !contains(made, dir) {
				h.Delete(dir)
			}
		}
		for name, f := range files {
			if now, there := h.Snapshot()[name]; !there || !sameFile(now, f) {
				h.Put(f)
			}
		}
		h.folders, h.mtimes = folders, times
	}()
	runner, err := p.session.runner(p.Stdin, p.Stdout, p.Stderr)
	if err != nil {
		return err
	}
	return runner.Run(p.ctx, parsed)
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

// runner makes a shell for a session.
func (s *session) runner(in io.Reader, out, errs io.Writer) (*interp.Runner, error) {
	return interp.New(
		interp.StdIO(in, out, errs),
		interp.Env(shellEnv),
		interp.Dir("/"),
		interp.CallHandler(s.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
		interp.OpenHandler(s.open),
		interp.StatHandler(s.stat),
		interp.AccessHandler(s.access),
		interp.ReadDirHandler2(s.readDir),
	)
}

// copyInPlace plays `cp -a . FOLDER` onto itself: in a mount namespace the copy
// has the place of the original.
func copyInPlace(p program) bool { return strings.HasPrefix(strings.Join(p.args, " "), "-a . ") }

var headBytes = regexp.MustCompile(`^-c (\d+)$`)

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
		return func(program) error { return nil }
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
