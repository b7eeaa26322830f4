package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// image is the journal's file after a commit, and what it says then.
type image struct {
	bytes []byte
	says  string
}

// says is all that a reader gets out of a journal.
func says(j *Journal) (string, error) {
	one, err1 := j.Records(1)
	two, err2 := j.Records(2)
	log, err3 := j.Log()
	runs, err4 := j.Runs()
	phase, err5 := j.Phase(1)
	return fmt.Sprintf("%+v\n%+v\n%+v\n%+v\n%+v", one, two, log, runs, phase), errors.Join(err1, err2, err3, err4, err5)
}

// written makes a journal commit by commit, large pre-images among them so
// that pages are split and freed, and returns an image of each.
func written(t *testing.T) []image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path)
	var images []image
	commit := func(err error) {
		t.Helper()
		text, readErr := says(j)
		if err := errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		images = append(images, image{must[[]byte](t)(os.ReadFile(path)), text})
	}
	commit(nil)
	commit(j.BeginPhase(1, "spec", "steps", nil))
	end, err := j.BeginRun(1)
	commit(err)
	for i := range 12 {
		for _, target := range []string{"e1", "e2"} {
			k := Key{1 + i%2, fmt.Sprintf("etcd/step-%02d", i), target}
			for _, c := range []Change{{Event: Start, Before: before(strings.Repeat("x", 300*i))}, {Event: ApplyDone}, {Event: VerifyDone}} {
				_, err := j.Advance(k, c)
				commit(err)
			}
		}
	}
	commit(end("done", true))
	return images
}

const pageSize = 4096

// changedPages lists the pages in which two files differ: the meta pages, 0
// and 1, apart. A page that only one of the files has is changed.
func changedPages(was, now []byte) (data, meta []int) {
	for p := 0; p*pageSize < len(now); p++ {
		if bytes.Equal(page(was, p), page(now, p)) {
			continue
		}
		if p < 2 {
			meta = append(meta, p)
		} else {
			data = append(data, p)
		}
	}
	return data, meta
}

func page(file []byte, p int) []byte {
	return file[min(p*pageSize, len(file)):min((p+1)*pageSize, len(file))]
}

// with is the file was with some pages of now, grown where now is longer. The
// pages may be torn: only their first bytes are new.
func with(was, now []byte, pages []int, first int) []byte {
	out := make([]byte, len(now))
	copy(out, was)
	for _, p := range pages {
		fresh := page(now, p)
		copy(out[p*pageSize:], fresh[:min(first, len(fresh))])
	}
	return out
}

// subsets are those of the pages that a power cut may have let through: all
// subsets of few pages, and of many the prefixes, the single ones, all but
// one, and some at random.
func subsets(pages []int, random *rand.Rand) [][]int {
	var out [][]int
	if len(pages) <= 6 {
		for bits := range int(1) << len(pages) {
			var s []int
			for i, p := range pages {
				if bits>>i&1 == 1 {
					s = append(s, p)
				}
			}
			out = append(out, s)
		}
		return out
	}
	for i := range pages {
		out = append(out, pages[:i], pages[i:i+1], append(append([]int{}, pages[:i]...), pages[i+1:]...))
	}
	for range 32 {
		var s []int
		for _, p := range pages {
			if random.IntN(2) == 0 {
				s = append(s, p)
			}
		}
		out = append(out, s)
	}
	return append(out, pages)
}

// TestPowerCutAtEveryCommit: bbolt writes a commit's pages, syncs, writes one
// meta page, and syncs (tx.go: Commit; it gives no file of ours to record that
// with, so the writes are taken from the file before and after). A power cut
// loses any of the writes since the last sync, in any order, and tears pages
// between sectors. Whatever is lost, the journal says all that was acknowledged
// before, or that and the commit at hand, and nothing in between.
func TestPowerCutAtEveryCommit(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	images, dir := written(t), t.TempDir()
	cuts, old, fresh := 0, 0, 0
	check := func(what string, file []byte, allowed ...string) {
		t.Helper()
		cuts++
		path := filepath.Join(dir, "cut")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := OpenReadOnly(path, Options{})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		text, err := says(j)
		if err := errors.Join(err, j.Close()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		switch {
		case text == allowed[0]:
			old++
		case len(allowed) > 1 && text == allowed[1]:
			fresh++
		default:
			t.Fatalf("%s: the journal says something else:\n%s", what, cmp.Diff(allowed[0], text))
		}
	}
	for i := 1; i < len(images); i++ {
		was, now := images[i-1], images[i]
		data, meta := changedPages(was.bytes, now.bytes)
		if len(meta) != 1 {
			t.Fatalf("commit %d wrote the meta pages %v: bbolt writes one", i, meta)
		}
		for _, some := range subsets(data, random) {
			check(fmt.Sprintf("commit %d, pages %v of %v", i, some, data), with(was.bytes, now.bytes, some, pageSize), was.says)
			check(fmt.Sprintf("commit %d, pages %v of %v torn", i, some, data), with(was.bytes, now.bytes, some, 512*(1+random.IntN(7))), was.says)
		}
		synced := with(was.bytes, now.bytes, data, pageSize)
		for torn := 1; torn < 80; torn += 7 {
			check(fmt.Sprintf("commit %d, meta page torn after %d bytes", i, torn), with(synced, now.bytes, meta, torn), was.says, now.says)
		}
		check(fmt.Sprintf("commit %d, whole", i), with(synced, now.bytes, meta, pageSize), now.says)
	}
	t.Logf("%d commits, %d power cuts: %d left the journal of before, %d the new one, none an unreadable one", len(images)-1, cuts, old, fresh)
}

// TestATruncatedJournalIsReadOrRefused: a file that a file system check or a
// bad copy has cut is read, or refused with a sentence that says how to go on.
// It never crashes the program, and never says less than it was given.
func TestATruncatedJournalIsReadOrRefused(t *testing.T) {
	t.Parallel()
	images, dir := written(t), t.TempDir()
	last := images[len(images)-1]
	read, refused := 0, 0
	for size := 1; size < len(last.bytes); size += 509 {
		path := filepath.Join(dir, "cut")
		if err := os.WriteFile(path, last.bytes[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		for name, opener := range map[string]func(string, Options) (*Journal, error){"OpenReadOnly": OpenReadOnly, "Open": Open} {
			j, err := opener(path, Options{})
			var format *FormatError
			switch {
			case err == nil:
				text, readErr := says(j)
				if readErr != nil || text != last.says {
					t.Errorf("%s of the first %d bytes: %v, it says\n%s", name, size, readErr, cmp.Diff(last.says, text))
				}
				_ = j.Close()
				read++
			case !errors.As(err, &format) || !strings.Contains(err.Error(), "`migrate adopt`"):
				t.Errorf("%s of the first %d bytes: %v", name, size, err)
			default:
				refused++
			}
		}
	}
	if refused == 0 {
		t.Error("none was refused: the cuts cut nothing off")
	}
	t.Logf("%d opened after a cut: %d read whole, %d refused with what to do", read+refused, read, refused)
}

// TestADamagedPageIsRefused fills each page in turn with rubbish.
func TestADamagedPageIsRefused(t *testing.T) {
	t.Parallel()
	images, dir := written(t), t.TempDir()
	last := images[len(images)-1]
	read, refused := 0, 0
	for p := range len(last.bytes) / pageSize {
		damaged := bytes.Clone(last.bytes)
		copy(damaged[p*pageSize:], bytes.Repeat([]byte{0xa5}, pageSize))
		path := filepath.Join(dir, fmt.Sprint(p)) // a refused one may stay locked
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := OpenReadOnly(path, Options{})
		var format *FormatError
		switch {
		case err == nil:
			read++
			_, err := says(j)
			if err := errors.Join(err, j.Close()); err != nil {
				t.Errorf("page %d: %v", p, err)
			}
		case !errors.As(err, &format):
			t.Errorf("page %d: %v", p, err)
		default:
			refused++
		}
	}
	t.Logf("%d pages damaged one by one: %d refused, %d were not in use or had a second copy", read+refused, refused, read)
}
