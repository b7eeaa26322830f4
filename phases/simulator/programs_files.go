package simulator

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/interp"
)

func mkdir(p program) error {
	flags, rest := p.options("-m")
	mode := 0o777 &^ p.umask
	if m, ok := flags["-m"]; ok {
		n, err := strconv.ParseUint(m, 8, 32)
		if err != nil {
			return err
		}
		mode = fs.FileMode(n)
	}
	for _, dir := range rest {
		p.host.mkdir(p.abs(dir), mode, "root:root")
	}
	return nil
}

// mktemp makes a folder, after a template where there is one.
func mktemp(p program) error {
	template := "/tmp/tmp.XXXXXX"
	if _, rest := p.options(); len(rest) > 0 {
		template = p.abs(rest[0])
	}
	for n := 1; ; n++ {
		if dir := strings.Replace(template, "XXXXXX", fmt.Sprintf("%06d", n), 1); !p.host.has(dir) {
			p.host.mkdir(dir, 0o700, "root:root")
			p.out("%s\n", dir)
			return nil
		}
	}
}

// mv overwrites, as mv does; a link to a folder is that folder but with -T.
func mv(p program) error {
	flags, rest := p.options()
	from, to := p.abs(rest[0]), p.abs(rest[1])
	_, withT := flags["-fT"]
	if leads := p.host.linkTarget(from); leads != "" { // with -T
		p.host.Delete(from)
		p.host.Delete(to)
		p.host.Link(to, leads)
		return nil
	}
	if i, err := p.host.stat(to); err == nil && i.IsDir() && !withT {
		to = path.Join(to, path.Base(from))
	}
	f, err := p.host.Fake.ReadFile(p.ctx, from)
	if err != nil {
		return fmt.Errorf("cannot stat '%s': No such file or directory", rest[0])
	}
	f.Path = to
	p.host.Delete(from)
	if p.host.linkTarget(to) != "" { // it is replaced, and not written through
		p.host.Delete(to)
	}
	p.host.Put(f)
	p.host.mtimes[to] = p.host.mtimes[from]
	return nil
}

func cp(p program) error {
	if copyInPlace(p) {
		return nil
	}
	flags, rest := p.options()
	_, asIs := flags["-P"]
	if leads := p.host.linkTarget(p.abs(rest[0])); leads != "" && asIs {
		p.host.Link(p.abs(rest[1]), leads)
		return nil
	}
	f, err := p.host.Fake.ReadFile(p.ctx, p.abs(rest[0]))
	if err != nil {
		return fmt.Errorf("cannot stat '%s': No such file or directory", rest[0])
	}
	if _, keep := flags["-p"]; !keep {
		f.Owner = "root:root"
		f.Mode &^= p.umask
	}
	f.Path = p.abs(rest[1])
	if i, err := p.host.stat(f.Path); err == nil && i.IsDir() {
		f.Path = path.Join(f.Path, path.Base(rest[0]))
	}
	if !p.host.has(path.Dir(f.Path)) {
		return fmt.Errorf("cannot create regular file '%s': No such file or directory", rest[1])
	}
	p.host.Put(f)
	p.host.mtimes[f.Path] = time.Now()
	return nil
}

func rm(p program) error {
	flags, rest := p.options()
	_, recursive := flags["-rf"]
	_, force := flags["-f"]
	for _, name := range rest {
		i, err := p.host.stat(p.abs(name))
		isLink := p.host.linkTarget(p.abs(name)) != ""
		switch {
		case err != nil && !isLink && !recursive && !force:
			return fmt.Errorf("cannot remove '%s': No such file or directory", name)
		case err == nil && !isLink && i.IsDir() && !recursive:
			return fmt.Errorf("cannot remove '%s': Is a directory", name)
		case err == nil || isLink:
			p.host.remove(p.abs(name))
		}
	}
	return nil
}

// rmdir removes empty folders.
func rmdir(p program) error {
	for _, name := range p.args {
		if p.host.mountOf(p.abs(name)) == p.abs(name) {
			return fmt.Errorf("failed to remove '%s': Device or resource busy", name)
		}
		names, err := p.host.Fake.List(p.ctx, p.abs(name))
		if err != nil || len(names) > 0 {
			return fmt.Errorf("failed to remove '%s': %d entries, %v", name, len(names), err)
		}
		p.host.remove(p.abs(name))
	}
	return nil
}

func ln(p program) error {
	_, rest := p.options()
	if p.host.has(p.abs(rest[1])) {
		return fmt.Errorf("failed to create symbolic link '%s': File exists", rest[1])
	}
	p.host.Link(p.abs(rest[1]), rest[0])
	return nil
}

func chmod(p program) error {
	mode, err := strconv.ParseUint(p.args[0], 8, 32)
	if err != nil {
		return err
	}
	for _, name := range p.args[1:] {
		f, err := p.host.Fake.ReadFile(p.ctx, p.abs(name))
		if err != nil {
			return fmt.Errorf("cannot access '%s': No such file or directory", name)
		}
		f.Path, f.Mode = p.abs(name), fs.FileMode(mode)
		p.host.Put(f)
	}
	return nil
}

// stat -c FORMAT, with the placeholders in use. User and group IDs are names
// here; nobody but install takes them back. A file's device, inode and times
// to the nanosecond are its content here: they differ when that does.
func stat(p program) error {
	flags, rest := p.options("-c")
	failed := false
	for _, name := range rest {
		i, err := p.host.stat(p.abs(name))
		if err != nil {
			fmt.Fprintf(p.Stderr, "stat: cannot statx '%s': No such file or directory\n", name)
			failed = true
			continue
		}
		user, group, _ := strings.Cut(i.owner, ":")
		p.out("%s\n", strings.NewReplacer("%U", user, "%G", group, "%u", user, "%g", group,
			"%a", fmt.Sprintf("%o", i.mode.Perm()), "%s", strconv.FormatInt(i.size, 10), "%Y", strconv.FormatInt(p.host.mtimes[p.abs(name)].Unix(), 10), "%Z", strconv.FormatInt(p.host.mtimes[p.abs(name)].Unix(), 10),
			"%n", name, "%d %i", "1 "+fmt.Sprintf("%x", sha256.Sum256(i.data)), "%d", p.host.disk(p.abs(name)), "%F", kindOf(i), "%y %z", "then then").Replace(flags["-c"]))
	}
	if failed {
		return interp.ExitStatus(1)
	}
	return nil
}

// install -d makes folders.
func install(p program) error {
	flags, dirs := p.options("-m", "-o", "-g")
	if _, ok := flags["-d"]; !ok {
		return errors.New("only -d is played")
	}
	mode, owner, group := uint64(0o755), "root", "root"
	for flag, value := range flags {
		var err error
		switch flag {
		case "-m":
			mode, err = strconv.ParseUint(value, 8, 32)
		case "-o":
			owner = value
		case "-g":
			group = value
		}
		if err != nil {
			return err
		}
	}
	for _, name := range []string{owner, group} {
		if !p.host.users[name] {
			return fmt.Errorf("invalid user '%s'", name)
		}
	}
	for _, dir := range dirs {
		p.host.mkdir(path.Dir(p.abs(dir)), 0o755, "root:root")
		p.host.Folder(p.abs(dir))
		p.host.folders[p.host.Real(p.abs(dir))] = folder{fs.FileMode(mode), owner + ":" + group}
	}
	return nil
}

func readlink(p program) error {
	if flags, rest := p.options(); len(flags) > 0 { // -f, -m
		at := p.abs(rest[0])
		if below, ok := strings.CutPrefix(at, "/var/run/"); ok { // a link of every machine's
			at = "/run/" + below
		}
		at = p.host.Real(at)
		p.out("%s\n", at)
		return nil
	}
	to := p.host.linkTarget(p.abs(p.args[0]))
	if to == "" {
		return interp.ExitStatus(1)
	}
	p.out("%s\n", to)
	return nil
}

// find DIR -type f, and links too with -o -type l.
func find(p program) error {
	if slices.Contains(p.args, "-lname") {
		return instances(p)
	}
	if slices.Contains(p.args, "-mmin") {
		return nil // nothing is old here: what a run leaves behind is asked for within its time
	}
	if slices.Contains(p.args, "-exec") {
		return search(p)
	}
	dir, links := p.abs(p.args[0]), slices.Contains(p.args, "l")
	if p.host.linkTarget(dir) != "" && !strings.HasSuffix(p.args[0], "/") { // it does not follow what it begins at
		if links {
			p.out("%s\n", dir)
		}
		return nil
	}
	if !p.host.has(dir) {
		return fmt.Errorf("'%s': No such file or directory", p.args[0])
	}
	var paths []string
	for name, f := range p.host.Entries() {
		if below, ok := strings.CutPrefix(name, p.host.Real(dir)+"/"); ok && (f.Mode&fs.ModeSymlink == 0 || links) {
			paths = append(paths, path.Join(dir, below))
		}
	}
	for _, name := range sorted(paths) {
		p.out("%s\n", name)
	}
	return nil
}

func ls(p program) error {
	_, rest := p.options()
	if len(rest) == 0 {
		rest = []string{p.Dir}
	}
	names, err := p.host.Fake.List(p.ctx, p.abs(rest[0]))
	if err != nil {
		fmt.Fprintf(p.Stderr, "ls: cannot access '%s': No such file or directory\n", rest[0])
		return interp.ExitStatus(2)
	}
	for _, n := range names {
		if !strings.HasPrefix(n, ".") {
			p.out("%s\n", n)
		}
	}
	return nil
}

func id(p program) error {
	_, rest := p.options()
	if !p.host.users[rest[0]] {
		return fmt.Errorf("'%s': no such user", rest[0])
	}
	p.out("999\n")
	return nil
}

// deleteUser plays userdel, which takes the group of that name along, and
// groupdel. A user with processes stays.
func deleteUser(p program) error {
	for _, s := range p.host.boots {
		if p.host.folders[path.Clean(s.flags["data-dir"])].owner == p.args[0]+":"+p.args[0] {
			return fmt.Errorf("user %s is currently used by process %d", p.args[0], s.proc.pid)
		}
	}
	delete(p.host.users, p.args[0])
	return nil
}

func addUser(p program) error {
	_, rest := p.options("--home-dir", "--gid", "--shell")
	p.host.users[rest[0]] = true
	return nil
}
