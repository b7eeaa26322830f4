package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The parts of a page (bbolt: internal/common/page.go): a header of 16 bytes
// (its own number 8, flags 2, count 2, how many pages it goes on for 4), then
// so many elements of 16 bytes, then the keys and values that they point to. A
// bucket's value is its root page and its sequence, 8 bytes each; where the
// root is 0, a small page follows in the value itself.
const (
	pageHeader  = 16
	elementSize = 16
	bucketValue = 16

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketLeaf   = 0x01

	noFreelist = ^uint64(0) // bbolt: common.PgidNoFreelist
	manyFree   = 0xffff     // the count of a list of free pages stands before it
)

var errPages = errors.New("its pages do not fit together")

// pages are the tree of pages that the newest meta page leads to. bbolt itself
// checks checksums of the meta pages alone. On a damaged page below them it
// panics, also in goroutines where nobody can catch it, follows a circle
// without end, or takes pages in use for free ones and writes over them.
type pages struct {
	file  io.ReaderAt
	meta  meta
	taken map[uint64]bool // also those that are free: each has one place
}

// sound is the error that the pages do not fit together.
func sound(file io.ReaderAt, m meta) error {
	p := pages{file: file, meta: m, taken: map[uint64]bool{}}
	if err := p.walk(m.root, nil, nil); err != nil {
		return err
	}
	return p.free()
}

// read returns a page with all that it goes on for, and notes that it is taken.
func (p pages) read(id uint64, kinds uint16) (data []byte, flags uint16, err error) {
	head := make([]byte, pageHeader)
	if id < 2 || id >= p.meta.pages {
		return nil, 0, errPages
	}
	if _, err := p.file.ReadAt(head, int64(id*p.meta.pageSize)); err != nil {
		return nil, 0, fmt.Errorf("reading page %d: %w", id, err)
	}
	flags, more := binary.NativeEndian.Uint16(head[8:]), uint64(binary.NativeEndian.Uint32(head[12:]))
	if binary.NativeEndian.Uint64(head) != id || flags&kinds == 0 || flags&^kinds != 0 || id+more >= p.meta.pages {
		return nil, 0, errPages
	}
	for n := id; n <= id+more; n++ {
		if p.taken[n] {
			return nil, 0, errPages
		}
		p.taken[n] = true
	}
	data = make([]byte, (more+1)*p.meta.pageSize)
	if _, err := p.file.ReadAt(data, int64(id*p.meta.pageSize)); err != nil {
		return nil, 0, fmt.Errorf("reading page %d: %w", id, err)
	}
	return data, flags, nil
}

// walk follows a page and all below it, whose keys are from low on and below
// high; nil is no bound.
func (p pages) walk(id uint64, low, high []byte) error {
	data, flags, err := p.read(id, branchPage|leafPage)
	if err != nil {
		return err
	}
	if flags == leafPage {
		return p.leaf(data, low, high)
	}
	keys, err := keysOf(data, flags, low, high)
	if err != nil || len(keys) == 0 {
		return errors.Join(errPages, err)
	}
	for i, key := range keys {
		next := high
		if i+1 < len(keys) {
			next = keys[i+1]
		}
		child := binary.NativeEndian.Uint64(data[pageHeader+i*elementSize+8:])
		if err := p.walk(child, key, next); err != nil {
			return err
		}
	}
	return nil
}

// leaf looks at the values of a page, and goes into those that are buckets.
func (p pages) leaf(data, low, high []byte) error {
	keys, err := keysOf(data, leafPage, low, high)
	if err != nil {
		return err
	}
	for i, key := range keys {
		at := pageHeader + i*elementSize
		flags, begin := binary.NativeEndian.Uint32(data[at:]), uint64(at)+uint64(binary.NativeEndian.Uint32(data[at+4:]))+uint64(len(key))
		end := begin + uint64(binary.NativeEndian.Uint32(data[at+12:]))
		if end > uint64(len(data)) || flags&^bucketLeaf != 0 {
			return errPages
		}
		if flags != bucketLeaf {
			continue
		}
		value := data[begin:end]
		if len(value) < bucketValue {
			return errPages
		}
		if root := binary.NativeEndian.Uint64(value); root != 0 {
			err = p.walk(root, nil, nil)
		} else {
			err = p.inline(value[bucketValue:])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inline is a small bucket's page within a value.
func (p pages) inline(data []byte) error {
	if len(data) < pageHeader || binary.NativeEndian.Uint16(data[8:]) != leafPage {
		return errPages
	}
	return p.leaf(data, nil, nil)
}

// keysOf returns the keys of a page, which grow.
func keysOf(data []byte, flags uint16, low, high []byte) ([][]byte, error) {
	count := int(binary.NativeEndian.Uint16(data[10:]))
	first := pageHeader + count*elementSize
	if first > len(data) {
		return nil, errPages
	}
	position, size := 4, 8 // of a leaf's element
	if flags == branchPage {
		position, size = 0, 4
	}
	keys := make([][]byte, 0, count)
	for at := pageHeader; at < first; at += elementSize {
		begin := uint64(at) + uint64(binary.NativeEndian.Uint32(data[at+position:]))
		end := begin + uint64(binary.NativeEndian.Uint32(data[at+size:]))
		if begin < uint64(first) || end > uint64(len(data)) {
			return nil, errPages
		}
		key := data[begin:end]
		if n := len(keys); n > 0 && bytes.Compare(keys[n-1], key) >= 0 ||
			low != nil && bytes.Compare(key, low) < 0 || high != nil && bytes.Compare(key, high) >= 0 {
			return nil, errPages
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// free looks at the list of free pages: none of them is in use.
func (p pages) free() error {
	if p.meta.freelist == noFreelist {
		return nil
	}
	data, _, err := p.read(p.meta.freelist, freelistPage)
	if err != nil {
		return err
	}
	count, at := uint64(binary.NativeEndian.Uint16(data[10:])), uint64(pageHeader)
	if count == manyFree {
		count, at = binary.NativeEndian.Uint64(data[at:]), at+8
	}
	if count > (uint64(len(data))-at)/8 {
		return errPages
	}
	for ; count > 0; count, at = count-1, at+8 {
		id := binary.NativeEndian.Uint64(data[at:])
		if id < 2 || id >= p.meta.pages || p.taken[id] {
			return errPages
		}
		p.taken[id] = true
	}
	return nil
}
