package remotetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strings"

	"hamigrate/migrate/remote"
)

var (
	errNotRegular = errors.New("not a regular file")
	errNotFolder  = errors.New("not a folder")
)

// Tree is all files, links and folders of a Fake as they were at an instant. Any
// number of Fakes can be given the same one.
type Tree struct {
	files   map[string]remote.File
	links   map[string]string
	folders map[string]bool
}

// Tree returns what is there now.
func (f *Fake) Tree() Tree {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index()
	return Tree{maps.Clone(f.Files), maps.Clone(f.links), maps.Clone(f.folders)}
}

// Restore replaces all that is there by a Tree, without counting as an operation.
func (f *Fake) Restore(t Tree) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Files, f.links, f.folders = maps.Clone(t.files), maps.Clone(t.links), maps.Clone(t.folders)
	f.known = len(f.Files)
}

// problem wraps an error once with what was done to which path.
func (f *Fake) problem(doing, p string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s on %s: %w", doing, p, f.name, err)
}

// look begins a read of p.
func (f *Fake) look(ctx context.Context, p string) (string, error) {
	if err := f.reading(ctx); err != nil {
		return "", err
	}
	return absolute(p)
}

// The functions below need f.mu held and a cleaned path.

// put sets a file and makes its folders.
func (f *Fake) put(file remote.File) {
	file.Path = f.place(file.Path)
	file.Data = append([]byte(nil), file.Data...) // what is in Files is never changed
	f.index()
	f.changing(file.Path)
	f.Files[file.Path] = file
	f.keepFolder(path.Dir(file.Path))
	f.known = len(f.Files)
}

// file is a file that is there, defaults filled in. Its content is shared.
func (f *Fake) file(p string) remote.File {
	file := f.Files[p]
	file.Path = p
	if file.Data == nil {
		file.Data = []byte{}
	}
	if file.Mode == 0 {
		file.Mode = 0o600
	}
	if file.Owner == "" {
		file.Owner = "root:root"
	}
	file.Mode &= fs.ModePerm
	return file
}

// resolve follows every link on the way to p, and those that p itself may be.
func (f *Fake) resolve(p string) string {
	for range 40 { // the kernel's limit
		at, to := f.firstLink(p)
		if at == "" {
			return p
		}
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(at), to)
		}
		p = path.Join(to, strings.TrimPrefix(p, at))
	}
	return p
}

// firstLink is the outermost link on the way to p, and its text.
func (f *Fake) firstLink(p string) (at, to string) {
	for i := 1; i <= len(p) && len(f.links) > 0; i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		if to, ok := f.links[p[:i]]; ok {
			return p[:i], to
		}
	}
	return "", ""
}

// place is where p stands: the links on the way are followed, p itself is not.
func (f *Fake) place(p string) string {
	if p = path.Clean(p); p == "/" {
		return p
	}
	return path.Join(f.resolve(path.Dir(p)), path.Base(p))
}

// keepFolder makes p and its parents folders that stay when they are empty.
func (f *Fake) keepFolder(p string) {
	for ; !f.folders[p]; p = path.Dir(p) {
		f.folders[p] = true
	}
}

// index makes the folders of files that were set in Files itself.
func (f *Fake) index() {
	if f.known == len(f.Files) {
		return
	}
	for p := range f.Files {
		f.keepFolder(path.Dir(p))
	}
	f.known = len(f.Files)
}

func (f *Fake) isFolder(p string) bool {
	f.index()
	return f.folders[p]
}

func (f *Fake) there(p string) bool {
	_, file := f.Files[p]
	_, link := f.links[p]
	return file || link || f.isFolder(p)
}
