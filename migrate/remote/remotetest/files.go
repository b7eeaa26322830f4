package remotetest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate/remote"
)

// Put sets a file and makes its folders, without counting as an operation.
func (f *Fake) Put(file remote.File) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(file)
}

// Link makes a symbolic link to target, without counting as an operation.
// Links are followed wherever they are in a path.
func (f *Fake) Link(p, target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p = f.place(p)
	f.changing(p)
	f.links[p] = target
	f.keepFolder(path.Dir(p))
}

// Folder makes an empty folder, without counting as an operation.
func (f *Fake) Folder(p string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keepFolder(f.resolve(path.Clean(p)))
}

// Real is where a path leads when all links are followed.
func (f *Fake) Real(p string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.resolve(path.Clean(p))
}

// Delete removes a file, a link or a folder with all in it, without counting
// as an operation.
func (f *Fake) Delete(p string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p = f.place(p)
	f.keepFolder(path.Dir(p))
	f.index()
	drop(f, f.Files, p)
	drop(f, f.links, p)
	drop(f, f.folders, p)
	f.known = len(f.Files)
}

// drop deletes every key within p.
func drop[V any](f *Fake, m map[string]V, p string) {
	for q := range m {
		if within(q, p) {
			f.changing(q)
			delete(m, q)
		}
	}
}

// Peek returns a file without a copy of its content, which must not be changed;
// ok is false where there is none. It is no operation, and works after a crash.
func (f *Fake) Peek(p string) (file remote.File, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clean := f.resolve(path.Clean(p))
	if _, ok := f.Files[clean]; !ok || f.isFolder(clean) {
		return remote.File{}, false
	}
	file = f.file(clean)
	file.Path = p
	return file, true
}

// IsFolder says whether a path leads to a folder; like Peek, it is no operation.
func (f *Fake) IsFolder(p string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.isFolder(f.resolve(path.Clean(p)))
}

// Target is where the symbolic link at p leads, "" where there is none.
func (f *Fake) Target(p string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.links[f.place(p)]
}

// ReadFile implements remote.Reader.
func (f *Fake) ReadFile(ctx context.Context, p string) (remote.File, error) {
	clean, err := f.look(ctx, p)
	if err != nil {
		return remote.File{}, f.problem("reading", p, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	clean = f.resolve(clean)
	if f.isFolder(clean) {
		return remote.File{}, f.problem("reading", p, errNotRegular)
	}
	if _, ok := f.Files[clean]; !ok {
		return remote.File{}, f.problem("reading", p, fs.ErrNotExist)
	}
	file := f.file(clean)
	file.Path, file.Data = p, append([]byte{}, file.Data...)
	return file, nil
}

// List implements remote.Reader.
func (f *Fake) List(ctx context.Context, dir string) ([]string, error) {
	clean, err := f.look(ctx, dir)
	if err != nil {
		return nil, f.problem("listing", dir, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	clean = f.resolve(clean)
	if !f.isFolder(clean) {
		if f.there(clean) {
			return nil, f.problem("listing", dir, errNotFolder)
		}
		return nil, f.problem("listing", dir, fs.ErrNotExist)
	}
	names := map[string]bool{}
	below(names, f.Files, clean+"/")
	below(names, f.links, clean+"/")
	below(names, f.folders, clean+"/")
	return slices.Sorted(maps.Keys(names)), nil
}

// below adds the names that the keys have right below a folder.
func below[V any](names map[string]bool, m map[string]V, folder string) {
	for p := range m {
		if len(p) <= len(folder) || p[len(folder)-1] != '/' {
			continue // most are sorted out by one byte
		}
		if rest, ok := strings.CutPrefix(p, folder); ok {
			name, _, _ := strings.Cut(rest, "/")
			names[name] = true
		}
	}
}

// WriteFile implements remote.Host.
func (f *Fake) WriteFile(ctx context.Context, file remote.File) error {
	err := f.doAgain(ctx, "write "+file.Path, func() error { return f.write(file) })
	return f.problem("writing", file.Path, err)
}

// Copy implements remote.Host.
func (f *Fake) Copy(ctx context.Context, from remote.Reader, p string, to remote.File) error {
	err := f.doAgain(ctx, "copy "+from.Name()+":"+p+" to "+to.Path, func() error {
		data, err := content(ctx, from, p)
		if err != nil {
			return err
		}
		to.Data = data
		return f.write(to)
	})
	return f.problem("copying to", to.Path, err)
}

// content is all of a file, streamed where from can stream.
func content(ctx context.Context, from remote.Reader, p string) ([]byte, error) {
	streamer, ok := from.(remote.Streamer)
	if !ok {
		file, err := from.ReadFile(ctx, p)
		return file.Data, err
	}
	r, size, err := streamer.Open(ctx, p)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err == nil && int64(len(data)) != size {
		err = fmt.Errorf("%d bytes instead of %d: %w", len(data), size, io.ErrUnexpectedEOF)
	}
	return data, err
}

func (f *Fake) write(file remote.File) error {
	clean, err := absolute(file.Path)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	file.Path = f.resolve(clean)
	if f.isFolder(file.Path) {
		return errNotRegular
	}
	if _, ok := f.Files[file.Path]; ok {
		have := f.file(file.Path)
		if file.Mode == 0 {
			file.Mode = have.Mode
		}
		if file.Owner == "" {
			file.Owner = have.Owner
		}
	}
	f.put(file)
	return nil
}

// Rename implements remote.Host.
func (f *Fake) Rename(ctx context.Context, from, to string) error {
	err := f.doAgain(ctx, "rename "+from+" to "+to, func() error { return f.rename(from, to) })
	return f.problem("moving", from, err)
}

func (f *Fake) rename(from, to string) error {
	from, err := absolute(from)
	if err != nil {
		return err
	}
	to, err = absolute(to)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	from, to = f.place(from), f.place(to)
	switch {
	case !f.there(from) && f.there(to):
		return nil
	case !f.there(from):
		return fs.ErrNotExist
	case f.there(to):
		return fs.ErrExist
	case !f.isFolder(path.Dir(to)):
		return errNotFolder
	}
	f.keepFolder(path.Dir(from))
	f.index()
	move(f, f.Files, from, to)
	move(f, f.links, from, to)
	move(f, f.folders, from, to)
	f.keepFolder(path.Dir(to))
	return nil
}

// move gives every key within from its place within to.
func move[V any](f *Fake, m map[string]V, from, to string) {
	for p, v := range maps.Clone(m) {
		if within(p, from) {
			moved := to + strings.TrimPrefix(p, from)
			f.changing(p)
			f.changing(moved)
			delete(m, p)
			m[moved] = v
		}
	}
}

// Remove implements remote.Host.
func (f *Fake) Remove(ctx context.Context, p string) error {
	err := f.doAgain(ctx, "remove "+p, func() error {
		clean, err := absolute(p)
		if err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		clean = f.place(clean)
		if f.isFolder(clean) {
			return errNotRegular
		}
		if f.there(clean) {
			f.keepFolder(path.Dir(clean))
		}
		f.index()
		f.changing(clean)
		delete(f.Files, clean)
		delete(f.links, clean)
		f.known = len(f.Files)
		return nil
	})
	return f.problem("removing", p, err)
}
