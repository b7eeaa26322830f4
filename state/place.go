package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckPlace refuses a path at which no journal can be: in a folder that is not
// there, which is a slip of the keys more often than a wish, or what is no
// regular file, which bbolt would wait for or write over.
func CheckPlace(path string) error {
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return fmt.Errorf("the journal %s: there is no folder %s: make it first, or name another file with --journal", path, folder)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("looking for the journal: %w", err)
	case info.IsDir():
		return fmt.Errorf("the journal %s is a folder: name a file in it with --journal", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("the journal %s is a pipe or a device, in which nothing is kept: name a file with --journal", path)
	}
	return nil
}

// Blank says whether at path there is no journal yet, or one in which nothing is
// recorded of any step: a first run that never came as far leaves that.
func Blank(path string, o Options) (blank bool, err error) {
	j, err := OpenReadOnly(path, o)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	log, err := j.Log()
	return len(log) == 0, err
}
