package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Rebuild opens a new journal that is to take the place of a lost one at path,
// beside it: until Install there is nothing at path. What an earlier attempt
// left is thrown away.
func Rebuild(path string, o Options) (*Journal, error) {
	draft := path + ".adopting"
	if err := os.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing an unfinished %s: %w", draft, err)
	}
	return Open(draft, o)
}

// Install closes a journal from Rebuild and puts it in its place. One with
// records that has come there meanwhile is left alone, with an error.
func (j *Journal) Install(path string) error {
	if blank, err := Blank(path, Options{}); err != nil || !blank {
		return fmt.Errorf("%s has come into being meanwhile: the rebuilt journal stays in %s", path, j.path)
	}
	draft := j.path
	if err := j.Close(); err != nil {
		return fmt.Errorf("closing the rebuilt journal: %w", err)
	}
	if err := os.Rename(draft, path); err != nil {
		return fmt.Errorf("putting the rebuilt journal in its place: %w", err)
	}
	return syncDir(filepath.Dir(path))
}
