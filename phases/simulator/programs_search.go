package simulator

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/interp"
)

// kindOf is stat's %F.
func kindOf(i info) string {
	if i.IsDir() {
		return "directory"
	}
	return "regular file"
}

// search plays `find -L FOLDER… -maxdepth N -type f -size -N -exec PROGRAM … {} +`.
func search(p program) error {
	var dirs, command []string
	depth, blocks := 1000, 0
	for i := 0; i < len(p.args); i++ {
		switch a := p.args[i]; {
		case a == "-maxdepth" || a == "-size" || a == "-type":
			i++
			n, err := strconv.Atoi(strings.TrimPrefix(p.args[i], "-"))
			switch {
			case a == "-maxdepth" && err == nil:
				depth = n
			case a == "-size" && err == nil:
				blocks = n
			}
		case a == "-exec":
			command = p.args[i+1 : len(p.args)-2]
			i = len(p.args)
		case !strings.HasPrefix(a, "-"):
			dirs = append(dirs, p.abs(a))
		}
	}
	if slices.ContainsFunc(p.host.hardware.Hangs, func(at string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool { return at == dir || strings.HasPrefix(at, dir+"/") })
	}) {
		p.sleep(time.Minute)
	}
	var found []string
	for name, f := range p.host.Entries() {
		for _, dir := range dirs {
			rest, below := strings.CutPrefix(name, dir+"/")
			if f.Mode&fs.ModeSymlink == 0 && (name == dir || below && strings.Count(rest, "/") < depth) && (blocks == 0 || len(f.Data) < blocks*512) {
				found = append(found, name)
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	run := p.host.world.parts.program(p.host, command[0])
	if run == nil {
		return fmt.Errorf("%s: No such file or directory", command[0])
	}
	p.args = append(append([]string{}, command[1:]...), sorted(found)...)
	if err := run(p); err != nil && command[0] != "grep" {
		return err
	}
	return nil
}

// grepFiles plays -l and -oh with -E, -I, -s and -e.
func grepFiles(p program) error {
	flags, files := p.options("-e")
	expr, err := regexp.Compile(flags["-e"])
	if err != nil {
		return err
	}
	names, only := false, false
	for f := range flags {
		names, only = names || strings.Contains(f, "l"), only || strings.Contains(f, "o")
	}
	matched := false
	for _, name := range files {
		text := p.host.read(p.abs(name))
		if strings.Contains(text, "\x00") || strings.HasPrefix(text, "\x7fELF") || !expr.MatchString(text) {
			continue
		}
		matched = true
		switch {
		case names:
			p.out("%s\n", name)
		case only:
			p.out("%s\n", strings.Join(expr.FindAllString(text, -1), "\n"))
		}
	}
	if !matched {
		return interp.ExitStatus(1)
	}
	return nil
}

// room is what df says of a path: KiB that are free, and where its disk is
// mounted.
func (h *Host) room(name string) (free int, at string) {
	at = h.mountOf(name)
	if at != "/" && at != "" {
		if free, ok := h.hardware.Free[at]; ok {
			return free, at
		}
		return 20 << 20, at
	}
	for dir := name; ; dir = path.Dir(dir) {
		if free, ok := h.hardware.Free[dir]; ok {
			return free, "/"
		}
		if dir == "/" {
			return 20 << 20, "/"
		}
	}
}

// listUnits plays `systemctl list-units --all --plain --no-legend PATTERN`.
func listUnits(p program) error {
	pattern := p.args[len(p.args)-1]
	if d := p.host.hardware.Units; d > 0 {
		p.sleep(d)
	}
	p.host.dropTransient()
	for name, u := range p.host.units {
		if ok, err := path.Match(pattern, name); err != nil || ok {
			p.out("%s loaded %s running\n", name, u.state)
		}
	}
	return nil
}

// dropTransient forgets the transient services whose time is over.
func (h *Host) dropTransient() {
	maps.DeleteFunc(h.units, func(_ string, u *unit) bool { return !u.until.IsZero() && !time.Now().Before(u.until) })
}
