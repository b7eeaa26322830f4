package simulator

import (
	"bytes"
	"context"
	"io/fs"
	"maps"
	"path"
	"strings"
	"time"

	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
)

var (
	_ remote.Host     = (*Host)(nil)
	_ remote.Streamer = (*Host)(nil)
)

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
	if c.Waits {
		h.world.memo.waiting(c.Script)
	}
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

func (w *World) newHost(name, address string) *Host {
	h := &Host{
		Fake: remotetest.New(name), world: w, address: address,
		folders: map[string]folder{}, users: map[string]bool{"root": true, "daemon": true},
		units: map[string]*unit{}, procs: map[int]*process{}, pods: map[string]*staticPod{},
		boots: map[string]*bootedServer{}, mtimes: map[string]time.Time{}, nat: map[string]natTable{}, hardware: newHardware(),
	}
	h.Faults = w.Faults
	h.OnRun("", w.parts.shell(h))
	for _, dir := range []string{"/etc/systemd/system", "/usr/bin", "/tmp", "/var/lib"} {
		h.Folder(dir)
	}
	w.hosts[name] = h
	return h
}
