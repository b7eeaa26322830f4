package backup

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/nodefiles"
	"hamigrate/migrate/remote"
)

// saveArchive reads the files one by one and writes the archive here: what is
// left out is decided before it is read, so it never leaves its node.
func saveArchive(ctx context.Context, file string, at time.Time, src Source, say func(string)) (Archive, error) {
	a, err := archive(ctx, file, at, src, say)
	if err != nil {
		return Archive{}, fmt.Errorf("archiving %s on %s: %w", nodefiles.Dir, src.Node.Name(), err)
	}
	return a, nil
}

// archiveTries is how often the files are read until none of them changes
// meanwhile. From the second time on, one that does is left out, unless a
// backup is good for nothing without it.
const archiveTries = 4

func archive(ctx context.Context, file string, at time.Time, src Source, say func(string)) (Archive, error) {
	changing := map[string]string{} // and why it is left out
	var last error
	for try := range archiveTries {
		listing, err := nodefiles.List(ctx, src.Node, src.CertificatesDir)
		if err != nil {
			return Archive{}, err
		}
		listing.Files = slices.DeleteFunc(listing.Files, func(f nodefiles.File) bool {
			why, is := changing[f.Path]
			if is {
				listing.LeftOut = append(listing.LeftOut, nodefiles.LeftOut{Path: f.Path, Why: why})
			}
			return is
		})
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Archive{}, err
		}
		changed, err := writeArchive(ctx, file, at, src.Node, listing.Files)
		if err == nil && len(changed) == 0 {
			changed, err = checkArchive(ctx, file, src.Node, listing.Files)
		}
		if err != nil {
			return Archive{}, err
		}
		if len(changed) == 0 {
			return finish(file, src, listing, say)
		}
		last = fmt.Errorf("%s is another file on the node than in the archive: it was changed meanwhile; run again", changed[0])
		for _, p := range changed {
			if try > 0 && !listing.Essential(p) {
				changing[p] = "it changes while it is read"
			}
		}
	}
	return Archive{}, last
}

// finish says what the archive has not, but for what no archive has.
func finish(file string, src Source, listing nodefiles.Listing, say func(string)) (Archive, error) {
	a := Archive{Node: src.Node.Name(), Files: len(listing.Files), LeftOut: []string{}}
	slices.SortFunc(listing.LeftOut, func(a, b nodefiles.LeftOut) int { return strings.Compare(a.Path, b.Path) })
	for _, l := range listing.LeftOut {
		a.LeftOut = append(a.LeftOut, l.Path+": "+l.Why)
		if !l.Rule {
			say(fmt.Sprintf("%s is not in the archive: %s", l.Path, l.Why))
		}
	}
	var err error
	a.File, err = fileOf(file, ArchiveFile)
	return a, err
}

// writeArchive returns the files that were gone when they were read.
func writeArchive(ctx context.Context, file string, at time.Time, node remote.Reader, files []nodefiles.File) (gone []string, err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z := gzip.NewWriter(f)
	t := tar.NewWriter(z)
	for _, one := range files {
		name := strings.TrimPrefix(one.Path, "/")
		if one.Kind == remote.LinkPath {
			if err := t.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: one.Link, Mode: 0o777, ModTime: at}); err != nil {
				return nil, err
			}
			continue
		}
		content, err := node.ReadFile(ctx, one.Path)
		if errors.Is(err, fs.ErrNotExist) {
			gone = append(gone, one.Path)
			continue
		}
		if err != nil {
			return nil, err
		}
		owner, group, _ := strings.Cut(content.Owner, ":")
		err = t.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(content.Data)),
			Mode: int64(content.Mode.Perm()), Uname: owner, Gname: group, ModTime: at})
		if err != nil {
			return nil, err
		}
		if _, err := t.Write(content.Data); err != nil {
			return nil, err
		}
	}
	return gone, errors.Join(t.Close(), z.Close(), f.Sync())
}

// checkArchive reads the archive back, whole, and returns the files that are
// not what they are on the node at this moment.
func checkArchive(ctx context.Context, file string, node remote.Reader, files []nodefiles.File) ([]string, error) {
	have, err := sumsOfArchive(file)
	if err != nil {
		return nil, fmt.Errorf("reading the archive back: %w", err)
	}
	if len(have) != len(files) {
		return nil, fmt.Errorf("the archive holds %d files instead of %d", len(have), len(files))
	}
	var paths, changed []string
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	now, err := remote.LookAt(ctx, node, paths)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		if have[strings.TrimPrefix(p, "/")] != sumOf(now[p]) {
			changed = append(changed, p)
		}
	}
	return changed, nil
}

// sumOf is what a file or a link is, in a word.
func sumOf(s remote.Standing) string {
	if s.Kind == remote.LinkPath {
		return "-> " + s.Link
	}
	return s.Sum
}

func sumsOfArchive(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return sums, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeSymlink {
			sums[h.Name] = "-> " + h.Linkname
			continue
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, t); err != nil {
			return nil, err
		}
		sums[h.Name] = hex.EncodeToString(sum.Sum(nil))
	}
}
