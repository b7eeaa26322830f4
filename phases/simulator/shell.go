package simulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"hamigrate/migrate/remote/remotetest"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
)

// shell plays /bin/sh: it is the handler of every script. It holds world.mu;
// programs that take their time give it back meanwhile (program.sleep).
func (h *Host) shell(script string, stdin []byte) (string, error) {
	script, look := strings.CutPrefix(script, lookMark)
	_, waits := h.world.memo.waits.Load(script)
	parsed, err := h.world.memo.script(script)
	if err != nil {
		return "", remotetest.Exit(2, err.Error())
	}
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	var in io.Reader
	if stdin != nil {
		file, err := piped(stdin)
		if err != nil {
			return "", err
		}
		defer file.Close()
		in = file
	}
	var stdout, stderr bytes.Buffer
	s := &session{host: h, umask: 0o022, look: look, waits: waits, script: script}
	runner, err := s.runner(in, &stdout, &stderr)
	if err != nil {
		return "", err
	}
	err = runner.Run(context.Background(), parsed)
	var status interp.ExitStatus
	switch {
	case errors.As(err, &status):
		return stdout.String(), remotetest.Exit(int(status), stderr.String())
	case err != nil:
		return stdout.String(), err
	}
	return stdout.String(), nil
}

var shellEnv = expand.ListEnviron("PATH=/usr/bin", "HOME=/root", "LANG=C.UTF-8")

// call turns builtins that would look at the real machine into programs of
// the fake one.
func (s *session) call(_ context.Context, args []string) ([]string, error) {
	switch {
	case args[0] == "umask":
		return append([]string{"set-umask"}, args[1:]...), nil
	case args[0] == "kill": // a builtin that the Go shell does not have
		return append([]string{"send-signal"}, args[1:]...), nil
	case args[0] == "trap" && args[len(args)-1] != "EXIT": // no signals come here
		return []string{"true"}, nil
	case args[0] == "command" && len(args) > 2 && args[1] == "-v":
		return append([]string{"which"}, args[2:]...), nil
	}
	return args, nil
}

func (s *session) exec(ctx context.Context, args []string) error {
	p := program{session: s, HandlerContext: interp.HandlerCtx(ctx), ctx: ctx, args: args[1:]}
	run := s.host.world.parts.program(s.host, args[0])
	s.looks(path.Base(args[0]), args[1:])
	s.mayRun(args[0])
	if run == nil {
		fmt.Fprintf(p.Stderr, "sh: 1: %s: not found\n", args[0])
		return interp.ExitStatus(127)
	}
	err := run(p)
	var status interp.ExitStatus
	if err == nil || errors.As(err, &status) || errors.Is(err, remotetest.ErrCrashed) {
		return err
	}
	fmt.Fprintf(p.Stderr, "%s: %v\n", path.Base(args[0]), err)
	return interp.ExitStatus(1)
}

// abs makes a path absolute.
func (p program) abs(name string) string {
	if !path.IsAbs(name) {
		name = path.Join(p.Dir, name)
	}
	return path.Clean(name)
}

// sleep lets the world go on for a while.
func (p program) sleep(d time.Duration) {
	w := p.host.world
	w.mu.Unlock()
	defer w.mu.Lock()
	time.Sleep(d)
	w.settle()
}

func (p program) out(format string, args ...any) { fmt.Fprintf(p.Stdout, format, args...) }

// input is the standard input, or the named files one after the other.
func (p program) input(files []string) (string, error) {
	if len(files) == 0 && p.Stdin == nil {
		return "", nil
	}
	if len(files) == 0 {
		data, err := io.ReadAll(p.Stdin)
		return string(data), err
	}
	var all strings.Builder
	for _, name := range files {
		f, err := p.host.Fake.ReadFile(p.ctx, p.abs(name))
		if err != nil {
			return "", fmt.Errorf("%s: No such file or directory", name)
		}
		all.Write(f.Data)
	}
	return all.String(), nil
}

func (s *session) open(ctx context.Context, name string, flag int, _ os.FileMode) (io.ReadWriteCloser, error) {
	if !path.IsAbs(name) {
		name = path.Join(interp.HandlerCtx(ctx).Dir, name)
	}
	s.reads(name)
	if name == "/dev/null" {
		return os.OpenFile(os.DevNull, flag, 0)
	}
	if name == "/proc/net/unix" {
		return piped([]byte(s.host.unixSockets()))
	}
	if flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		f, err := s.host.Fake.ReadFile(ctx, name)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return piped(f.Data)
	}
	name = s.host.Real(name) // a redirection goes through links
	have, err := s.host.stat(name)
	mode, owner := have.mode, have.owner
	if err != nil {
		mode, owner = 0o666&^s.umask, "root:root"
	}
	file := &openFile{close: func(data []byte) { s.host.put(name, string(data), mode, owner) }}
	if flag&os.O_APPEND != 0 {
		file.WriteString(s.host.read(name))
	}
	file.close(file.Bytes())
	return file, nil
}

// piped is a file of this machine from which data is read. The shell makes a pipe
// of any other reader and never closes it: files were left open by the thousand
// until the garbage collector came to them.
func piped(data []byte) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go func() {
		defer w.Close()
		w.Write(data) //nolint:errcheck // who closes it early does not want the rest
	}()
	return r, nil
}

// openFile is a file that the shell writes to.
type openFile struct {
	bytes.Buffer
	close func([]byte)
}

func (f *openFile) Close() error {
	f.close(f.Bytes())
	return nil
}

func (s *session) stat(ctx context.Context, name string, follow bool) (fs.FileInfo, error) {
	if !path.IsAbs(name) {
		name = path.Join(interp.HandlerCtx(ctx).Dir, name)
	}
	if !follow && s.host.linkTarget(name) != "" {
		return info{name: path.Base(name), mode: fs.ModeSymlink | 0o777, owner: "root:root"}, nil
	}
	i, err := s.host.stat(name)
	if err != nil {
		return nil, err
	}
	return withSocket(name, i), nil
}

// access: the operator is root, for whom only execution is a matter of mode.
func (s *session) access(_ context.Context, name string, mode interp.AccessMode) error {
	i, err := s.host.stat(name)
	if err == nil && mode&interp.AccessExec != 0 && !i.IsDir() && i.mode&0o111 == 0 {
		return fs.ErrPermission
	}
	return err
}

func (s *session) readDir(ctx context.Context, dir string) ([]fs.DirEntry, error) {
	names, err := s.host.Fake.List(ctx, dir)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: fs.ErrNotExist}
	}
	var out []fs.DirEntry
	for _, n := range names {
		i, err := s.host.stat(path.Join(dir, n))
		if err != nil { // a link that leads nowhere
			i = info{mode: fs.ModeSymlink | 0o777}
		}
		i.name = n
		out = append(out, fs.FileInfoToDirEntry(i))
	}
	return out, nil
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
