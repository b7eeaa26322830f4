package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	stampFile = "stamp.json"
	newPrefix = ".new-"
	oldPrefix = ".old-"
)

// part is one thing made and kept as a whole: a folder of the cache.
type part struct {
	folder  string // name in the cache
	title   string // for people
	seconds int    // what making it took where it was measured
	digest  string // of everything that decides what is made

	// make fills dir, an empty folder. It calls advance with the share
	// done, 0 to 1, as it goes.
	make func(ctx context.Context, dir string, advance func(float64)) error
}

// stamp is written as the last file of a part.
type stamp struct {
	Recipe string           `json:"recipe"`
	Sizes  map[string]int64 `json:"sizes"` // of every file, by path in the part
}

// cache is the folder that holds the parts.
type cache struct{ dir string }

// ensure returns the folder of p, made now if it is missing, damaged or of
// another recipe. The caller holds the lock.
func (c cache) ensure(ctx context.Context, p part, m *meter) (string, error) {
	dir := filepath.Join(c.dir, p.folder)
	m.begin(p.title, p.seconds)
	if whole(dir, p.digest) {
		m.end(false)
		return dir, nil
	}
	if err := c.replace(ctx, p, dir, m.advance); err != nil {
		return "", fmt.Errorf("%s: %w", lowerFirst(p.title), err)
	}
	m.end(true)
	return dir, nil
}

// replace makes p beside dir and puts it in dir's place.
func (c cache) replace(ctx context.Context, p part, dir string, advance func(float64)) error {
	tmp, err := os.MkdirTemp(c.dir, newPrefix+p.folder+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil { // MkdirTemp makes 0700
		return err
	}
	if err := p.make(ctx, tmp, advance); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := writeStamp(tmp, p.digest); err != nil {
		return err
	}
	old := filepath.Join(c.dir, oldPrefix+p.folder)
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// sweep removes what interrupted calls left. The caller holds the lock, so
// nobody is filling these folders.
func (c cache) sweep() error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("reading the cache folder: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), newPrefix) || strings.HasPrefix(e.Name(), oldPrefix) {
			if err := os.RemoveAll(filepath.Join(c.dir, e.Name())); err != nil {
				return fmt.Errorf("removing leftovers of an interrupted build: %w", err)
			}
		}
	}
	return nil
}

// writeStamp completes the part in dir. The file system is flushed first: a
// rename may otherwise reach the disk before the files it names, and a power
// cut would leave a whole-looking part of empty files.
func writeStamp(dir, digest string) error {
	s := stamp{Recipe: digest, Sizes: map[string]int64{}}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		s.Sizes[rel] = info.Size()
		return err
	})
	if err != nil {
		return fmt.Errorf("listing %s: %w", dir, err)
	}
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, stampFile), text, 0o644); err != nil {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("flushing %s to disk: %w", dir, err)
	}
	return nil
}

// whole tells whether dir holds a part of this recipe with every file there
// and of the size it was made with.
func whole(dir, digest string) bool {
	text, err := os.ReadFile(filepath.Join(dir, stampFile))
	if err != nil {
		return false
	}
	var s stamp
	if json.Unmarshal(text, &s) != nil || s.Recipe != digest {
		return false
	}
	for name, size := range s.Sizes {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Size() != size {
			return false
		}
	}
	return true
}

// digestOf returns a digest of values, each of which must be JSON-encodable.
func digestOf(values ...any) (string, error) {
	text, err := json.Marshal(values)
	if err != nil {
		return "", fmt.Errorf("encoding a recipe: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// lowerFirst turns a title into the start of an error message.
func lowerFirst(title string) string {
	if title == "" {
		return title
	}
	return strings.ToLower(title[:1]) + title[1:]
}
