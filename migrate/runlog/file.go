// Package runlog is the log beside the journal: what each command was, what it
// showed, which commands it ran on which hosts, and how it ended. One line of JSON
// an entry, so that other programs read it, too, and nothing that a host says can
// forge an entry or command a terminal.
//
// The journal says what is true of the migration, and a run goes by it. Nothing
// goes by the log: it is for people. So a log that can't be written stops nothing.
package runlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Defaults of Limits: at most 60 MiB are kept.
const (
	defaultBytes = 10 << 20
	defaultKeep  = 5
)

// Limits bound what is kept. The zero value means the defaults.
type Limits struct {
	Bytes int64 // a file is put away when it is as big
	Keep  int   // how many are kept besides: FILE.1, the newest, to FILE.5
}

// File is a log that is written to. Several processes may have one open at once: a
// line is one write at the end of the file, which the kernel never mixes with
// another. Who writes looks first whether the file is still the one of that name:
// another process may have put it away.
type File struct {
	path   string
	limits Limits

	mu   sync.Mutex
	file *os.File
	torn bool // the last line is not whole
}

// Open opens or makes a log, for its owner alone.
func Open(path string, limits Limits) (*File, error) {
	if limits.Bytes == 0 {
		limits.Bytes = defaultBytes
	}
	if limits.Keep == 0 {
		limits.Keep = defaultKeep
	}
	f := &File{path: path, limits: limits}
	var err error
	f.file, err = openRegular(path, os.O_RDWR|os.O_APPEND|os.O_CREATE)
	return f, err
}

// Close closes it.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	file := f.file
	f.file = nil
	return file.Close()
}

// Append writes a line, which ends in a line break and has no other.
func (f *File) Append(line []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ready(int64(len(line))); err != nil {
		return err
	}
	if f.torn { // where the disk was full
		line = append([]byte{'\n'}, line...)
	}
	n, err := f.file.Write(line)
	f.torn = n > 0 && n < len(line) || f.torn && n == 0
	return err
}

// ready has the file of that name open, with room for more.
func (f *File) ready(more int64) error {
	if f.file != nil {
		mine, err := f.file.Stat()
		if err != nil {
			return err
		}
		there, err := os.Lstat(f.path)
		switch {
		case err == nil && os.SameFile(mine, there):
			if mine.Size() == 0 || mine.Size()+more <= f.limits.Bytes || !f.putAway() {
				return nil
			}
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
		f.file.Close() //nolint:errcheck // what was written is written
		f.file = nil
	}
	var err error
	f.file, err = openRegular(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE)
	return err
}

// putAway renames FILE to FILE.1, and those that there are by one, and says whether
// FILE is gone. One process does it: the lock is on the very file that is put away,
// so who waited for it sees that the name leads to another. Nobody waits: who does
// not get the lock writes to the file as it is.
func (f *File) putAway() bool {
	fd := int(f.file.Fd())
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false
	}
	defer unix.Flock(fd, unix.LOCK_UN) //nolint:errcheck // it ends with the file
	mine, err := f.file.Stat()
	if err != nil || links(mine) != 1 { // somebody wants it where it is
		return false
	}
	there, err := os.Lstat(f.path)
	if err != nil || !os.SameFile(mine, there) {
		return true
	}
	for i := f.limits.Keep - 1; i >= 1; i-- {
		if err := os.Rename(numbered(f.path, i), numbered(f.path, i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return os.Rename(f.path, numbered(f.path, 1)) == nil
}

func numbered(path string, i int) string { return fmt.Sprintf("%s.%d", path, i) }

// openRegular opens a regular file that is nowhere else, and nothing in its place:
// a link would lead to a file of somebody's, a pipe to whoever reads it.
func openRegular(path string, flags int) (*os.File, error) {
	file, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("%s is a symbolic link, and none is followed", path)
	case errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("%s is no regular file", path)
	case err != nil:
		return nil, err
	}
	if err := fit(file, flags&os.O_APPEND != 0); err != nil {
		return nil, errors.Join(fmt.Errorf("%s %w", path, err), file.Close())
	}
	return file, nil
}

func fit(file *os.File, writes bool) error {
	info, err := file.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("is no regular file")
	case !writes:
		return nil
	case links(info) != 1:
		return errors.New("has another name as well (a hard link), and would be changed there, too")
	case info.Mode().Perm()&0o077 != 0:
		if err := file.Chmod(0o600); err != nil {
			return fmt.Errorf("may be read by others: %w", err)
		}
	}
	return nil
}

func links(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Nlink) //nolint:unconvert // its type differs from machine to machine
	}
	return 1
}
