package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hamigrate/internal/within"
)

// small makes a journal with a few commits, and images of it.
func small(t testing.TB) []image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "j")
	j, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	var images []image
	commit := func(err error) {
		t.Helper()
		text, readErr := says(j)
		file, fileErr := os.ReadFile(path)
		if err := errors.Join(err, readErr, fileErr); err != nil {
			t.Fatal(err)
		}
		images = append(images, image{file, text})
	}
	commit(j.BeginPhase(1, "spec", "steps", nil))
	for _, e := range []Event{Start, ApplyDone, VerifyDone} {
		_, err := j.Advance(Key{1, "etcd/peer-url", "cp1"}, Change{Event: e, Before: map[string]string{"peerURLs": "https://192.0.2.11:2380"}})
		commit(err)
	}
	return images
}

// damage changes one place of a file.
type damage struct {
	at    uint32
	with  []byte
	cut   uint32 // bytes that are missing at the end
	meta  bool   // the checksums of the meta pages are made to fit again
	write bool   // open for writing
}

func (d damage) done(file []byte) []byte {
	file = slices.Clone(file)
	file = file[:len(file)-int(d.cut)%(len(file)+1)]
	for i, b := range d.with {
		if len(file) > 0 {
			file[(int(d.at)+i)%len(file)] ^= b
		}
	}
	for _, at := range []int{0, defaultPage} {
		if !d.meta || len(file) < at+metaAt+metaSize {
			continue
		}
		m := file[at+metaAt:]
		sum := fnv.New64a()
		sum.Write(m[:metaSum])
		binary.NativeEndian.PutUint64(m[metaSum:], sum.Sum64())
	}
	return file
}

// FuzzDamagedJournal: a file that is damaged anywhere is refused, or says what
// it said at one of its commits; and whoever is refused finds it as it was.
func FuzzDamagedJournal(f *testing.F) {
	images := small(f)
	full := images[len(images)-1].bytes
	f.Add(uint32(0), []byte{}, uint32(0), false, false)
	f.Add(uint32(0), []byte{0xff}, uint32(0), true, true)
	f.Add(uint32(metaAt+8), []byte{0, 0x20}, uint32(0), true, false)
	f.Add(uint32(0), []byte{}, uint32(len(full)/2), false, true)
	f.Add(uint32(0), []byte{}, uint32(len(full)), false, true)
	for page := range len(full) / defaultPage {
		for _, at := range []int{8, 10, 12, 16, 20, 24, 28, 40} { // of a page's header and its first elements
			f.Add(uint32(page*defaultPage+at), []byte{1, 0x80}, uint32(0), page < 2, page%2 == 0)
		}
	}
	if at := bytes.LastIndex(full, []byte("192.0.2.11")); at > 0 { // a letter of a value
		f.Add(uint32(at), []byte{1}, uint32(0), false, false)
	}
	f.Fuzz(func(t *testing.T, at uint32, with []byte, cut uint32, meta, write bool) {
		d := damage{at, with, cut, meta, write}
		path := filepath.Join(t.TempDir(), "j")
		file := d.done(full)
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		within.Bounds(t, func() { openDamaged(t, path, file, d.write, images) })
	})
}

func openDamaged(t *testing.T, path string, file []byte, write bool, images []image) {
	t.Helper()
	opener := OpenReadOnly
	if write {
		opener = Open
	}
	j, err := opener(path, Options{})
	if err != nil {
		if now := must[[]byte](t)(os.ReadFile(path)); !bytes.Equal(now, file) {
			t.Errorf("the file was changed by an Open that failed: %v", err)
		}
		return
	}
	text, err := says(j)
	if err := errors.Join(err, j.Close()); err != nil {
		t.Fatalf("what was opened could not be read: %v", err)
	}
	if len(file) > 0 && !slices.ContainsFunc(images, func(i image) bool { return i.says == text }) {
		t.Errorf("the damaged file says something else:\n%s", text)
	}
}
