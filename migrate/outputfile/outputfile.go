// Package outputfile writes files that an operator names as a command's output. None
// of the migration's own files is ever replaced by one.
package outputfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"hamigrate/migrate/backup"
	"hamigrate/migrate/inputfile"
	"hamigrate/migrate/rehearsal"
)

// Own are the files of a migration, which no output may replace; "" where there is
// none.
type Own struct{ Spec, Journal string }

// Save writes the file that a flag names, with what write writes; mode is that of a
// file that is not there yet. A regular file is replaced as a
// whole, so that no half of one is ever read; where a link leads to it, the link
// stays. A device or a pipe is written to. The spec, the journal and what lies
// beside the journal are never touched.
func Save(flag, file string, mode fs.FileMode, own Own, write func(io.Writer) error) error {
	regular, err := Check(flag, file, own)
	if err != nil {
		return err
	}
	if !regular {
		return writeThrough(flag, file, write)
	}
	if at, err := filepath.EvalSymlinks(file); err == nil {
		file = at // else there is nothing yet, or a link to nothing, which is replaced
	}
	out, err := renameio.NewPendingFile(file, renameio.WithPermissions(mode))
	if err != nil {
		return fmt.Errorf("writing the file of --%s: %w", flag, err)
	}
	defer out.Cleanup()
	if err := write(out); err != nil {
		return err
	}
	if err := out.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("writing the file of --%s: %w", flag, err)
	}
	return nil
}

// Check refuses what Save would refuse, for commands that work for
// minutes before they write. It tells whether the file is, or will be, a regular
// one.
func Check(flag, file string, own Own) (regular bool, err error) {
	if what := own.has(file); what != "" {
		return false, fmt.Errorf("--%s %s is %s, which would be gone: name another file", flag, file, what)
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(file)); err != nil {
			return false, fmt.Errorf("--%s %s: there is no folder %s: make it first", flag, file, filepath.Dir(file))
		}
		return true, nil
	case err != nil:
		return false, fmt.Errorf("looking at the file of --%s: %w", flag, err)
	case info.IsDir():
		return false, fmt.Errorf("--%s %s is a folder: name a file in it", flag, file)
	}
	return info.Mode().IsRegular(), nil
}

// CheckNew refuses what Check refuses, and a file that is there, whatever it is.
func CheckNew(flag, file string, own Own) error {
	if _, err := Check(flag, file, own); err != nil {
		return err
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--%s %s is there already and is not overwritten: name another file, or move it away", flag, file)
	}
	return nil
}

// writeThrough writes to what is no regular file.
func writeThrough(flag, file string, write func(io.Writer) error) error {
	out, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("writing the file of --%s: %w", flag, err)
	}
	if err := write(out); err != nil {
		return errors.Join(err, out.Close())
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("writing the file of --%s: %w", flag, err)
	}
	return nil
}

// has says what of the migration a file is, by whatever name or link; "" where it
// is nothing of it.
func (o Own) has(file string) string {
	for _, one := range []struct{ file, what string }{
		{o.Spec, "the spec"}, {o.Journal, "the journal"}, {rehearsal.NoteFile(o.Journal), "what was rehearsed"},
	} {
		if inputfile.Same(one.file, file) {
			return one.what
		}
	}
	if o.Journal == "" {
		return ""
	}
	backups, companions := inputfile.Standing(backup.Dir(o.Journal)), inputfile.Standing(o.Journal)+"."
	for _, at := range []string{inputfile.Standing(file), inputfile.LedTo(file)} {
		switch {
		case at == backups || strings.HasPrefix(at, backups+string(filepath.Separator)):
			return "among the backups"
		case strings.HasPrefix(at, companions):
			return "a file of the journal's"
		}
	}
	return ""
}
