package simulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
)

// Host is one machine: files in memory, a shell over them, and the programs
// that run there.
type Host struct {
	*remotetest.Fake
	world   *World
	address string

	// What follows, and every change of files that is not an operation, is
	// guarded by world.mu.

	folders  map[string]folder // those that are not root:root 0755
	users    map[string]bool
	units    map[string]*unit
	procs    map[int]*process
	pods     map[string]*staticPod // by the manifest's file name
	nginx    nginxState
	kubelet  kubeletState
	journal  []string // what etcd.service said
	clients  int      // connections that `ss` counts at the API server's port
	boots    map[string]*bootedServer
	mtimes   map[string]time.Time
	nat      map[string]natTable // nft's tables, by name
	flows    []flow              // reset ones that the kernel still knows
	hardware Hardware
}

type folder struct {
	mode  fs.FileMode
	owner string
}

// process is a running program.
type process struct {
	pid     int
	name    string // as in /proc/PID/comm
	exe     string
	argv    []string
	flags   map[string]string // of argv
	started time.Time
}

var (
	_ remote.Host     = (*Host)(nil)
	_ remote.Streamer = (*Host)(nil)
)

func (w *World) newHost(name, address string) *Host {
	h := &Host{
		Fake: remotetest.New(name), world: w, address: address,
		folders: map[string]folder{}, users: map[string]bool{"root": true, "daemon": true},
		units: map[string]*unit{}, procs: map[int]*process{}, pods: map[string]*staticPod{},
		boots: map[string]*bootedServer{}, mtimes: map[string]time.Time{}, nat: map[string]natTable{}, hardware: newHardware(),
	}
	h.Faults = w.Faults
	h.OnRun("", h.shell)
	for _, dir := range []string{"/etc/systemd/system", "/usr/bin", "/tmp", "/var/lib"} {
		h.Folder(dir)
	}
	w.hosts[name] = h
	return h
}

// ReadFile implements remote.Reader.
func (h *Host) ReadFile(ctx context.Context, path string) (remote.File, error) {
	h.world.settle()
	return h.Fake.ReadFile(ctx, path)
}

// List implements remote.Reader.
func (h *Host) List(ctx context.Context, dir string) ([]string, error) {
	h.world.settle()
	return h.Fake.List(ctx, dir)
}

// change is an operation of the operator's on this host.
func (h *Host) change(op string, do func() error) error {
	if err := h.MayChange(context.Background()); err != nil {
		return err
	}
	h.world.settle()
	h.world.point(h.Name()+": "+op, remotetest.Before)
	err := do()
	h.world.point(h.Name()+": "+op, remotetest.After)
	h.world.settle()
	return err
}

// Run implements remote.Host.
func (h *Host) Run(ctx context.Context, c remote.Command) (out string, err error) {
	err = h.change("run "+c.Script, func() error {
		out, err = h.Fake.Run(ctx, c)
		return err
	})
	return out, err
}

// WriteFile implements remote.Host.
func (h *Host) WriteFile(ctx context.Context, f remote.File) error {
	return h.change("write "+f.Path, func() error {
		defer h.touch(f)
		return h.Fake.WriteFile(ctx, f)
	})
}

// touch keeps the time of a write that had its effect.
func (h *Host) touch(f remote.File) {
	if have, ok := h.Peek(f.Path); ok && h.Target(f.Path) == "" && bytes.Equal(have.Data, f.Data) {
		h.world.mu.Lock()
		defer h.world.mu.Unlock()
		h.mtimes[path.Clean(f.Path)] = time.Now()
	}
}

// Copy implements remote.Host.
func (h *Host) Copy(ctx context.Context, from remote.Reader, p string, to remote.File) error {
	return h.change("copy "+p+" to "+to.Path, func() error { return h.Fake.Copy(ctx, from, p, to) })
}

// Rename implements remote.Host.
func (h *Host) Rename(ctx context.Context, from, to string) error {
	return h.change("rename "+from+" to "+to, func() error { return h.Fake.Rename(ctx, from, to) })
}

// Remove implements remote.Host.
func (h *Host) Remove(ctx context.Context, p string) error {
	return h.change("remove "+p, func() error { return h.Fake.Remove(ctx, p) })
}

// DialContext implements remote.Reader: what listens there decides.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := errors.Join(context.Cause(ctx), h.Faults.Alive()); err != nil {
		return nil, err
	}
	h.world.settle()
	conn, err := h.world.connect(ctx, h, address)
	if errors.Is(err, errRefused) {
		return nil, fmt.Errorf("dialing %s from %s: %w", address, h.Name(),
			&net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED})
	}
	return conn, err
}

// The functions below read and change files without being an operation; they
// need world.mu held.

// read returns a file's content, "" when it is not there.
func (h *Host) read(p string) string { return string(h.file(p).Data) }

// file returns a file, the zero File when it is not there.
func (h *Host) file(p string) remote.File {
	f, _ := h.Peek(p)
	return f
}

func (h *Host) has(p string) bool {
	_, err := h.stat(p)
	return err == nil
}

func (h *Host) put(p, data string, mode fs.FileMode, owner string) {
	h.mtimes[path.Clean(p)] = time.Now()
	h.Put(remote.File{Path: p, Data: []byte(data), Mode: mode, Owner: owner})
}

// mkdir makes a folder and its parents; those that are new get mode and owner.
func (h *Host) mkdir(p string, mode fs.FileMode, owner string) {
	for q := path.Clean(p); q != "/"; q = path.Dir(q) {
		if h.has(q) {
			break
		}
		h.folders[h.Real(q)] = folder{mode, owner}
	}
	h.Folder(p)
}

// info is what stat says of a file.
type info struct {
	name  string
	mode  fs.FileMode // with the type's bits
	owner string
	size  int64
	data  []byte // the content, which must not be changed
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

// stat looks at a path; links are followed.
func (h *Host) stat(p string) (info, error) {
	if p = path.Clean(p); p == "/" {
		return info{name: "/", mode: fs.ModeDir | 0o755, owner: "root:root"}, nil
	}
	if f, ok := h.Peek(p); ok {
		return info{path.Base(p), f.Mode, f.Owner, int64(len(f.Data)), f.Data}, nil
	}
	if !h.IsFolder(p) {
		return info{}, &fs.PathError{Op: "stat", Path: p, Err: fs.ErrNotExist}
	}
	meta, ok := h.folders[h.Real(p)]
	if !ok {
		meta = folder{0o755, "root:root"}
	}
	return info{name: path.Base(p), mode: fs.ModeDir | meta.mode, owner: meta.owner}, nil
}

// linkTarget returns where a symbolic link leads, "" for what is none.
func (h *Host) linkTarget(p string) string {
	return h.Target(p)
}

// remove deletes a file or a folder with all in it.
func (h *Host) remove(p string) {
	p = path.Join(h.Real(path.Dir(p)), path.Base(p))
	h.Delete(p)
	maps.DeleteFunc(h.folders, func(q string, _ folder) bool { return q == p || strings.HasPrefix(q, p+"/") })
}

// start makes a process with its folder in /proc; rootfs is the folder whose
// files the process sees as /usr/local/bin, "" for the host's own.
func (h *Host) start(name, exe string, argv []string) *process {
	h.world.pids++
	p := &process{pid: h.world.pids, name: name, exe: exe, argv: argv, flags: flags(argv), started: time.Now()}
	h.procs[p.pid] = p
	dir := fmt.Sprintf("/proc/%d", p.pid)
	h.put(dir+"/comm", name+"\n", 0o444, "root:root")
	// Of its fields the last one here is when it started.
	h.put(dir+"/stat", fmt.Sprintf("%d (%s) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d\n", p.pid, name, p.pid), 0o444, "root:root")
	h.put(dir+"/cmdline", strings.Join(argv, "\x00")+"\x00", 0o444, "root:root")
	h.Link(dir+"/exe", exe)
	return p
}

func (h *Host) stop(p *process) {
	if p == nil {
		return
	}
	switch p.name {
	case apiComm:
		h.cut([]kind{apiServer}, p.flags["secure-port"])
		h.world.resetAll(h, p.flags["secure-port"])
	case "etcd":
		h.cut([]kind{etcdClient, etcdPeer}, "")
	}
	delete(h.procs, p.pid)
	h.Delete(fmt.Sprintf("/proc/%d", p.pid))
}

// running lists the processes of a name in the order of their start.
func (h *Host) running(name string) []*process {
	var out []*process
	for _, pid := range slices.Sorted(maps.Keys(h.procs)) {
		if h.procs[pid].name == name {
			out = append(out, h.procs[pid])
		}
	}
	return out
}
