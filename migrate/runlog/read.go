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

// Read returns all entries that are kept, the oldest first. A line that is none of
// the log's, such as half of one where the disk was full, is an entry of the kind
// Unread. No log is fs.ErrNotExist.
func Read(path string) ([]Entry, error) {
	files, err := openAll(path)
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, f := range slices.Backward(files) {
		entries, _, tail, err := parse(f, lastAt(all))
		err = errors.Join(err, f.Close())
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
		}
		all = append(all, entries...)
		if e, ok := entryOf(tail, lastAt(all)); ok {
			all = append(all, e)
		}
	}
	// One process may have written to a file that another had put away.
	slices.SortStableFunc(all, func(a, b Entry) int { return a.At.Compare(b.At) })
	return all, nil
}

func lastAt(all []Entry) time.Time {
	if len(all) == 0 {
		return time.Time{}
	}
	return all[len(all)-1].At
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

// parse reads whole lines, and says how many bytes they are; tail is what stands
// behind the last line break. What is not understood has the time of what stands
// before it.
func parse(r io.Reader, last time.Time) (all []Entry, bytes int64, tail string, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, n, err := oneLine(in)
		if errors.Is(err, io.EOF) {
			return all, bytes, line, nil
		}
		if err != nil {
			return nil, bytes, "", err
		}
		bytes += n
		if e, ok := entryOf(line, last); ok {
			all, last = append(all, e), e.At
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
		entries, n, _, err := parse(io.NewSectionReader(f.file, f.at, max(mine.Size()-f.at, 0)), time.Time{})
		if err != nil {
			return all, err
		}
		all, f.at = append(all, entries...), f.at+n
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
