package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"runtime/debug"

	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// The layout of bbolt's first two pages, its meta pages (bbolt:
// internal/common/meta.go and page.go): a page header of 16 bytes, then magic,
// version, page size and flags of 4 bytes each, the root bucket (16), the page
// of the free list, the number of pages, the transaction and a checksum (FNV-1a
// of all before it), 8 bytes each.
const (
	metaAt      = 16
	metaSize    = 64
	metaMagic   = 0xED0CDAED
	metaRoot    = 16
	metaFree    = 32
	metaPages   = 40
	metaTx      = 48
	metaSum     = 56
	defaultPage = 4096
)

// meta is what a meta page says.
type meta struct {
	pageSize, root, freelist, pages, tx uint64
}

// damaged says whether the file at path is no journal that bbolt can be given:
// it ends before its last page, and bbolt, which maps it into memory, would be
// killed by SIGBUS at the first one that is not there; or its pages do not fit
// together. A file that another process has locked is not judged: it may be
// growing at this moment. One without any meta page is left to bbolt, which
// refuses it.
func damaged(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return false, nil
	}
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	m, there := newestMeta(f)
	if !there {
		return false, nil
	}
	if m.pages > uint64(info.Size())/m.pageSize {
		return true, nil
	}
	if err := sound(f, m); err != nil && !errors.Is(err, errPages) {
		return false, err
	} else if err != nil {
		return true, nil
	}
	return false, nil
}

// newestMeta is the meta page that bbolt will take: the newer one of those
// whose checksums are right.
func newestMeta(f io.ReaderAt) (newest meta, there bool) {
	for _, at := range metaPlaces(f) {
		page := make([]byte, metaAt+metaSize)
		if _, err := f.ReadAt(page, at); err != nil {
			continue
		}
		b := page[metaAt:]
		sum := fnv.New64a()
		sum.Write(b[:metaSum])
		if binary.NativeEndian.Uint32(b) != metaMagic || binary.NativeEndian.Uint64(b[metaSum:]) != sum.Sum64() {
			continue
		}
		m := meta{pageSize: uint64(binary.NativeEndian.Uint32(b[8:])), root: binary.NativeEndian.Uint64(b[metaRoot:]),
			freelist: binary.NativeEndian.Uint64(b[metaFree:]), pages: binary.NativeEndian.Uint64(b[metaPages:]), tx: binary.NativeEndian.Uint64(b[metaTx:])}
		if m.pageSize >= metaAt+metaSize && (!there || m.tx > newest.tx) {
			newest, there = m, true
		}
	}
	return newest, there
}

// metaPlaces are where the two meta pages begin. The second one's place
// depends on the page size, which the first one names.
func metaPlaces(f io.ReaderAt) []int64 {
	page := make([]byte, metaAt+metaSize)
	size := uint32(os.Getpagesize())
	if _, err := f.ReadAt(page, 0); err == nil && binary.NativeEndian.Uint32(page[metaAt:]) == metaMagic {
		size = binary.NativeEndian.Uint32(page[metaAt+8:])
	}
	if size < 512 || size > 1<<20 {
		size = defaultPage
	}
	return []int64{0, int64(size)}
}

// guarded runs fn and makes an error of the panic, or the fault in mapped
// memory, with which bbolt meets a damaged page. What the panic says is about
// bbolt's code and helps nobody with the file.
func guarded(path string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = &FormatError{Path: path}
		}
	}()
	return fn()
}

// errNoJSON is a value that nobody wrote: every value is JSON.
var errNoJSON = fmt.Errorf("a value is not JSON: %w", berrors.ErrInvalid)
