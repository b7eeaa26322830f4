package runlog

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// longest is how much of a line is read; none that is written is as long.
const longest = 1 << 20

// Read returns all entries that are kept, the oldest first. Lines that are none of
// the log's, such as half of one where the disk was full, are an entry of the kind
// Unread, however many stand in a row. No log is fs.ErrNotExist.
func Read(path string) ([]Entry, error) {
	var all []Entry
	err := Each(path, false, func(e Entry) error { all = append(all, e); return nil })
	return all, err
}

// Each gives one entry after the other to emit, as Read returns them, and keeps few
// of them in memory. With onlyLast it gives those of the command that began last,
// and does not read what stands before.
func Each(path string, onlyLast bool, emit func(Entry) error) (err error) {
	files, err := openAll(path)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
	}()
	run, from := "", len(files)-1
	if onlyLast {
		if run, from, err = toLast(files); err != nil {
			return err
		}
	}
	order := &inOrder{emit: emit}
	junk := &joined{emit: order.add}
	one := func(e Entry) error {
		if onlyLast && e.Run != run {
			return nil
		}
		return junk.add(e)
	}
	var last time.Time
	for _, f := range slices.Backward(files[:from+1]) {
		tail := ""
		if last, _, tail, err = parse(f, last, one); err != nil {
			return fmt.Errorf("reading %s: %w", f.Name(), err)
		}
		if e, ok := entryOf(tail, last); ok {
			if err := one(e); err != nil {
				return err
			}
			last = e.At
		}
	}
	return errors.Join(junk.flush(), order.flush(0))
}

// toLast finds the last beginning of a command: whose it is, and in which file. That
// file stands there then. Without one it is the oldest file, and nobody's.
func toLast(files []*os.File) (run string, i int, err error) {
	for i, f := range files {
		in := bufio.NewReaderSize(f, 64<<10)
		at, begin := int64(0), int64(-1)
		for {
			line, n, err := oneLine(in)
			if err != nil && !errors.Is(err, io.EOF) {
				return "", 0, fmt.Errorf("reading %s: %w", f.Name(), err)
			}
			// In a text the quotes would have backslashes before them.
			if strings.Contains(line, `"kind":"begin"`) {
				if e, ok := entryOf(line, time.Time{}); ok && e.Kind == Begin {
					run, begin = e.Run, at
				}
			}
			if at += n; err != nil {
				break
			}
		}
		if _, err := f.Seek(max(begin, 0), io.SeekStart); err != nil {
			return "", 0, err
		}
		if begin >= 0 {
			return run, i, nil
		}
	}
	return "", len(files) - 1, nil
}

// joined makes one entry of neighbouring lines that are not understood.
type joined struct {
	emit func(Entry) error
	junk Entry
}

func (j *joined) add(e Entry) error {
	if e.Kind != Unread {
		return errors.Join(j.flush(), j.emit(e))
	}
	if j.junk.Lines == 0 {
		j.junk = e
	}
	j.junk.Lines++
	return nil
}

func (j *joined) flush() error {
	if j.junk.Lines == 0 {
		return nil
	}
	e := j.junk
	j.junk = Entry{}
	return j.emit(e)
}

// inOrder sorts by time: one process may have written to a file that another had
// put away. Such entries are few, and near each other.
type inOrder struct {
	emit func(Entry) error
	held []Entry
}

// near is how far from its place an entry may stand.
const near = 1000

func (o *inOrder) add(e Entry) error {
	if o.held = append(o.held, e); len(o.held) < 2*near {
		return nil
	}
	return o.flush(near)
}

// flush emits all but the newest.
func (o *inOrder) flush(but int) error {
	slices.SortStableFunc(o.held, func(a, b Entry) int { return a.At.Compare(b.At) })
	n := len(o.held) - but
	for _, e := range o.held[:n] {
		if err := o.emit(e); err != nil {
			return err
		}
	}
	o.held = slices.Delete(o.held, 0, n)
	return nil
}

// openAll opens the log and those that were put away, the newest first. One that is
// put away meanwhile is there under two names, and is taken once.
func openAll(path string) ([]*os.File, error) {
	var files []*os.File
	var infos []fs.FileInfo
	fail := func(err error) ([]*os.File, error) {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
		return nil, err
	}
	for i := 0; ; i++ {
		name := path
		if i > 0 {
			name = numbered(path, i)
		}
		f, err := openRegular(name, os.O_RDONLY)
		if errors.Is(err, fs.ErrNotExist) && i > 0 {
			break
		}
		if errors.Is(err, fs.ErrNotExist) { // put away a moment ago, or never there
			continue
		}
		if err != nil {
			return fail(err)
		}
		info, err := f.Stat()
		if err != nil {
			return fail(errors.Join(err, f.Close()))
		}
		if slices.ContainsFunc(infos, func(other fs.FileInfo) bool { return os.SameFile(info, other) }) {
			f.Close() //nolint:errcheck // it was only read
			continue
		}
		files, infos = append(files, f), append(infos, info)
	}
	if len(files) == 0 {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return files, nil
}

// parse gives each whole line to emit, and says of what time the last was and how
// many bytes they are; tail is what stands behind the last line break. What is not
// understood has the time of what stands before it.
func parse(r io.Reader, before time.Time, emit func(Entry) error) (last time.Time, bytes int64, tail string, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	last = before
	for {
		line, n, err := oneLine(in)
		if errors.Is(err, io.EOF) {
			return last, bytes, line, nil
		}
		if err != nil {
			return last, bytes, "", err
		}
		bytes += n
		if e, ok := entryOf(line, last); ok {
			last = e.At
			if err := emit(e); err != nil {
				return last, bytes, "", err
			}
		}
	}
}

// oneLine reads to the next line break, and keeps no more than the longest line.
func oneLine(in *bufio.Reader) (string, int64, error) {
	var line strings.Builder
	var n int64
	for {
		part, err := in.ReadSlice('\n')
		n += int64(len(part))
		if line.Len() < longest {
			line.Write(part[:min(len(part), longest-line.Len())])
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return strings.TrimSuffix(line.String(), "\n"), n, err
		}
	}
}

func entryOf(line string, last time.Time) (Entry, bool) {
	if strings.TrimSpace(line) == "" {
		return Entry{}, false
	}
	var e Entry
	if err := json.Unmarshal([]byte(line), &e); err != nil || !e.whole() {
		return Entry{At: last, Kind: Unread, Text: line}, true
	}
	return e, true
}

// whole says whether an entry has what belongs to its kind.
func (e Entry) whole() bool {
	switch e.Kind {
	case Begin:
		return !e.At.IsZero() && e.Begun != nil
	case Ran:
		return !e.At.IsZero() && e.Host != nil
	case End:
		return !e.At.IsZero() && e.Ended != nil
	case Out, Err, Lost:
		return !e.At.IsZero()
	case Unread:
	}
	return false
}

// Follow reads what is appended from now on.
type Follow struct {
	path string
	file *os.File
	at   int64
}

// NewFollow begins at the end of the log as it is.
func NewFollow(path string) (*Follow, error) {
	f := &Follow{path: path}
	file, err := openRegular(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	f.file = file
	f.at, err = file.Seek(0, io.SeekEnd)
	return f, err
}

// Next returns what has come since the last call. Where the log was put away meanwhile, it reads
// that to its end first.
func (f *Follow) Next() ([]Entry, error) {
	var all []Entry
	junk := &joined{emit: func(e Entry) error { all = append(all, e); return nil }}
	for {
		if f.file == nil {
			file, err := openRegular(f.path, os.O_RDONLY)
			if errors.Is(err, fs.ErrNotExist) {
				return all, nil
			}
			if err != nil {
				return all, err
			}
			f.file, f.at = file, 0
		}
		mine, err := f.file.Stat()
		if err != nil {
			return all, err
		}
		there, err := os.Lstat(f.path)
		moved := err != nil || !os.SameFile(mine, there)
		_, n, _, err := parse(io.NewSectionReader(f.file, f.at, max(mine.Size()-f.at, 0)), time.Time{}, junk.add)
		if err = errors.Join(err, junk.flush()); err != nil {
			return all, err
		}
		f.at += n
		if !moved {
			return all, nil
		}
		f.file.Close() //nolint:errcheck // it was only read
		f.file = nil
	}
}

// Close ends the following.
func (f *Follow) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
