package main

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
	"hamigrate/migrate/run"
)

// ownFiles are those of a migration, which no output may replace.
type ownFiles struct{ spec, journal string }

// ownFilesOf are those of a session.
func ownFilesOf(s *run.Session) ownFiles { return ownFiles{s.File, s.Journal} }

// writeOutput writes the file that a flag names. A regular file is replaced as a
// whole, so that no half of one is ever read; where a link leads to it, the link
// stays. A device or a pipe is written to. The spec, the journal and what lies
// beside the journal are never touched.
func writeOutput(flag, file string, mode fs.FileMode, own ownFiles, write func(io.Writer) error) error {
	regular, err := checkOutput(flag, file, own)
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

// checkOutput refuses what writeOutput would refuse, for commands that work for
// minutes before they write. It tells whether the file is, or will be, a regular
// one.
func checkOutput(flag, file string, own ownFiles) (regular bool, err error) {
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
func (o ownFiles) has(file string) string {
	for _, one := range []struct{ file, what string }{
		{o.spec, "the spec"}, {o.journal, "the journal"}, {rehearsal.NoteFile(o.journal), "what was rehearsed"},
	} {
		if inputfile.Same(one.file, file) {
			return one.what
		}
	}
	if o.journal == "" {
		return ""
	}
	backups, companions := inputfile.Standing(backup.Dir(o.journal)), inputfile.Standing(o.journal)+"."
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
