package state

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
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
	metaPages   = 40
	metaTx      = 48
	metaSum     = 56
	defaultPage = 4096
)

// cutOff says whether the file at path ends before the last page that its
// newest meta page counts. bbolt maps the file into memory and would be killed
// by SIGBUS at the first page that is not there. A file that another process
// has locked is not judged: it may be growing at this moment.
func cutOff(path string) (bool, error) {
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
	var newest, size uint64
	for _, at := range metaPlaces(f) {
		page := make([]byte, metaAt+metaSize)
		if _, err := f.ReadAt(page, at); err != nil {
			continue // bbolt refuses a file without any
		}
		m := page[metaAt:]
		sum := fnv.New64a()
		sum.Write(m[:metaSum])
		if binary.NativeEndian.Uint32(m) != metaMagic || binary.NativeEndian.Uint64(m[metaSum:]) != sum.Sum64() {
			continue
		}
		if tx := binary.NativeEndian.Uint64(m[metaTx:]); size == 0 || tx > newest {
			newest, size = tx, binary.NativeEndian.Uint64(m[metaPages:])*uint64(binary.NativeEndian.Uint32(m[8:]))
		}
	}
	return uint64(info.Size()) < size, nil
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

// readAll reads every entry of every bucket: damage is to be found before the
// first step is begun, not in its middle.
func readAll(tx *bolt.Tx) error {
	return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
		return b.ForEach(func(_, value []byte) error {
			if !json.Valid(value) {
				return errNoJSON
			}
			return nil
		})
	})
}
