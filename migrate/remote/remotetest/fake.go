package remotetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"

	"hamigrate/migrate/remote"
)

// Fake is a remote.Host (and remote.Streamer) in memory. Its methods are safe
// for concurrent use.
type Fake struct {
	// Files are the regular files by absolute path. Path may be left empty,
	// mode 0 and an empty owner mean 0600 and root:root. Set it before the
	// first use; later changes go through Put and Delete.
	Files map[string]remote.File
	// Faults counts the changing operations; replace it before the first use
	// to share one count among several fakes.
	Faults *Faults

	name     string
	mu       sync.Mutex // guards Files and what follows
	links    map[string]string
	folders  map[string]bool // made or emptied; others follow from Files
	known    int             // how many of Files have their folders in folders
	looks    map[*changes]bool
	commands []command
	dials    map[string]func() net.Conn
	detached map[string]*detached // those that run, by name
}

type command struct {
	pattern *regexp.Regexp
	handle  Handler
}

// Handler plays a command: it gets the script and the standard input and
// returns the standard output and nil, Exit or another error. It may call
// Put, Delete, Link and Folder of the Fake.
type Handler func(script string, stdin []byte) (stdout string, err error)

var (
	_ remote.Host     = (*Fake)(nil)
	_ remote.Streamer = (*Fake)(nil)
)

// New returns a host without files that knows no command.
func New(name string) *Fake {
	return &Fake{
		Files:   map[string]remote.File{},
		Faults:  NewFaults(),
		name:    name,
		links:   map[string]string{},
		looks:   map[*changes]bool{},
		folders: map[string]bool{"/": true},
		dials:   map[string]func() net.Conn{},

		detached: map[string]*detached{},
	}
}

// OnRun plays every script that matches the regular expression, for Run and
// for Look. Of several matches the one registered last wins. A script that
// matches none ends with status 127.
func (f *Fake) OnRun(pattern string, handle Handler) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commands = append(f.commands, command{regexp.MustCompile(pattern), handle})
}

// OnDial answers DialContext to address with what dial returns, the caller's
// end. An address without an answer refuses connections.
func (f *Fake) OnDial(address string, dial func() net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials[address] = dial
}

// FailAt is Faults.FailAt.
func (f *Fake) FailAt(n int, when When, err error) { f.Faults.FailAt(n, when, err) }

// Ops is Faults.Ops: lines like "cp1: write /etc/hosts".
func (f *Fake) Ops() []string { return f.Faults.Ops() }

// Exit is the error of a command that ended with status.
func Exit(status int, stderr string) error {
	return &remote.ExitError{Status: status, Stderr: stderr}
}

// Name is the name given to New.
func (f *Fake) Name() string { return f.name }

// Run implements remote.Host. A context that ends while the Handler runs is
// remote.ErrUnknownOutcome; the Handler is not stopped.
func (f *Fake) Run(ctx context.Context, c remote.Command) (string, error) {
	if c.Detach != "" {
		return f.runDetached(ctx, c)
	}
	var out string
	err := f.do(ctx, "run "+c.Script, func() error {
		var err error
		out, err = f.play(ctx, c)
		if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			return fmt.Errorf("%w: %w", remote.ErrUnknownOutcome, err)
		}
		return err
	})
	return out, err
}

// Look implements remote.Reader. A Handler that changes files is an error:
// looking must not.
func (f *Fake) Look(ctx context.Context, c remote.Command) (string, error) {
	if err := f.reading(ctx); err != nil {
		return "", err
	}
	seen := f.watch()
	out, err := f.play(ctx, c)
	if names := f.unwatch(seen); ctx.Err() == nil && len(names) > 0 {
		return "", fmt.Errorf("looking at %s: `%s` changed files: %s", f.name, c.Script, strings.Join(names, ", "))
	}
	return out, err
}

// play runs the handler for c.
func (f *Fake) play(ctx context.Context, c remote.Command) (string, error) {
	handle := f.handler(c.Script)
	if handle == nil {
		return "", &remote.ExitError{Host: f.name, Script: c.Script, Status: 127,
			Stderr: "remotetest: no handler for this script; add one with OnRun"}
	}
	type played struct {
		out string
		err error
	}
	done := make(chan played, 1)
	go func() {
		out, err := handle(c.Script, c.Stdin)
		done <- played{out, err}
	}()
	select {
	case p := <-done:
		var exit *remote.ExitError
		if errors.As(p.err, &exit) && exit.Host == "" {
			return p.out, &remote.ExitError{Host: f.name, Script: c.Script, Status: exit.Status, Stderr: exit.Stderr}
		}
		return p.out, p.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (f *Fake) handler(script string) Handler {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range slices.Backward(f.commands) {
		if c.pattern.MatchString(script) {
			return c.handle
		}
	}
	return nil
}

// DialContext implements remote.Reader.
func (f *Fake) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := f.reading(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	dial := f.dials[address]
	f.mu.Unlock()
	if dial == nil {
		return nil, fmt.Errorf("dialing %s from %s: %w", address, f.name,
			&net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED})
	}
	return dial(), nil
}

// Open implements remote.Streamer.
func (f *Fake) Open(ctx context.Context, path string) (io.ReadCloser, int64, error) {
	file, err := f.ReadFile(ctx, path)
	if err != nil {
		return nil, 0, err
	}
	return io.NopCloser(bytes.NewReader(file.Data)), int64(len(file.Data)), nil
}

// reading is what every operation that changes nothing begins with.
func (f *Fake) reading(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return f.Faults.Alive()
}

// do is one changing operation.
func (f *Fake) do(ctx context.Context, op string, effect func() error) error {
	if err := f.reading(ctx); err != nil {
		return err
	}
	return f.Faults.Do(f.name+": "+op, effect)
}

// doAgain is one changing operation that may be done twice: a cut connection
// is no trouble.
func (f *Fake) doAgain(ctx context.Context, op string, effect func() error) error {
	err := f.do(ctx, op, effect)
	if errors.Is(err, ErrCut) {
		return f.do(ctx, op, effect)
	}
	return err
}

// absolute is the path rule of every host.
func absolute(p string) (string, error) {
	if !path.IsAbs(p) || path.Clean(p) == "/" {
		return "", fmt.Errorf("%q is not the absolute path of a file or folder", p)
	}
	return path.Clean(p), nil
}

// within says whether p is dir or below it.
func within(p, dir string) bool {
	dir = strings.TrimSuffix(dir, "/")
	return strings.HasPrefix(p, dir) && (len(p) == len(dir) || p[len(dir)] == '/')
}

// Snapshot returns a copy of all files with their defaults filled in, for
// comparing. A symbolic link is a File of mode fs.ModeSymlink with the target
// as its content.
func (f *Fake) Snapshot() map[string]remote.File {
	all := f.Entries()
	for p, file := range all {
		file.Data = append([]byte{}, file.Data...)
		all[p] = file
	}
	return all
}

// Entries is Snapshot without copies of the content, which must not be changed.
func (f *Fake) Entries() map[string]remote.File {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make(map[string]remote.File, len(f.Files)+len(f.links))
	for p := range f.Files {
		all[p] = f.file(p)
	}
	for p, to := range f.links {
		all[p] = remote.File{Path: p, Data: []byte(to), Mode: fs.ModeSymlink}
	}
	return all
}
