package remotetest

import (
	"bytes"
	"io/fs"
	"maps"
	"regexp"
	"slices"

	"hamigrate/migrate/remote"
)

// changes are the files that have changed since a look began, as they were
// then: nil for one that was not there.
type changes map[string]*remote.File

// watch begins to note changes.
func (f *Fake) watch() *changes {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &changes{}
	f.looks[c] = true
	return c
}

// unwatch ends that and names the files that are different now.
func (f *Fake) unwatch(c *changes) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.looks, c)
	maps.DeleteFunc(*c, func(p string, before *remote.File) bool { return scratch.MatchString(p) || same(before, f.entry(p)) })
	return slices.Sorted(maps.Keys(*c))
}

// scratch is where the fake shell's mktemp makes folders: its own place, and
// folders in memory that scripts ask for by a name with an end of its choice.
// Another command, run beside a look, would be taken for what changed them.
var scratch = regexp.MustCompile(`^(/tmp/tmp\.|/run/migrate-[a-z]+\.)`)

// changing notes how a path is before it is changed. It needs f.mu held.
func (f *Fake) changing(p string) {
	for c := range f.looks {
		if _, noted := (*c)[p]; !noted {
			(*c)[p] = f.entry(p)
		}
	}
}

// entry is a file or a link, nil for what is neither. It needs f.mu held.
func (f *Fake) entry(p string) *remote.File {
	if _, ok := f.Files[p]; ok {
		file := f.file(p)
		return &file
	}
	if to, ok := f.links[p]; ok {
		return &remote.File{Path: p, Data: []byte(to), Mode: fs.ModeSymlink}
	}
	return nil
}

func same(a, b *remote.File) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Mode == b.Mode && a.Owner == b.Owner && bytes.Equal(a.Data, b.Data)
}
