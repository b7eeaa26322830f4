package remotetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"hamigrate/migrate/remote"
)

var (
	errNotRegular = errors.New("not a regular file")
	errNotFolder  = errors.New("not a folder")
)

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
	file.Path = path.Clean(file.Path)
	file.Data = append([]byte(nil), file.Data...)
	f.Files[file.Path] = file
	f.keepFolder(path.Dir(file.Path))
}

// file is a copy of a file that is there, defaults filled in.
func (f *Fake) file(p string) remote.File {
	file := f.Files[p]
	file.Path = p
	file.Data = append([]byte{}, file.Data...)
	if file.Mode == 0 {
		file.Mode = 0o600
	}
	if file.Owner == "" {
		file.Owner = "root:root"
	}
	file.Mode &= fs.ModePerm
	return file
}

// resolve follows the links that p and the folders above it may be.
func (f *Fake) resolve(p string) string {
	for range 40 { // the kernel's limit
		link := f.linkIn(p)
		if link == "" {
			return p
		}
		to := f.links[link]
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(link), to)
		}
		p = path.Clean(to + strings.TrimPrefix(p, link))
	}
	return p
}

// linkIn is the first link on the way to p, "" where there is none.
func (f *Fake) linkIn(p string) string {
	if len(f.links) == 0 {
		return ""
	}
	for i := 1; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		if _, is := f.links[p[:i]]; is {
			return p[:i]
		}
	}
	return ""
}

// keepFolder makes p and its parents folders that stay when they are empty.
func (f *Fake) keepFolder(p string) {
	for ; !f.folders[p]; p = path.Dir(p) {
		f.folders[p] = true
	}
}

// all are the paths of everything made.
func (f *Fake) all() map[string]bool {
	paths := make(map[string]bool, len(f.Files)+len(f.links)+len(f.folders))
	for p := range f.Files {
		paths[p] = true
	}
	for p := range f.links {
		paths[p] = true
	}
	for p := range f.folders {
		paths[p] = true
	}
	return paths
}

func (f *Fake) isFolder(p string) bool {
	if f.folders[p] {
		return true
	}
	for q := range f.Files { // set directly, so its folders were not made
		if q != p && within(q, p) {
			return true
		}
	}
	return false
}

func (f *Fake) there(p string) bool {
	_, file := f.Files[p]
	_, link := f.links[p]
	return file || link || f.isFolder(p)
}
