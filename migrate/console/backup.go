package console

import (
	"fmt"
	"io"
	"time"

	"hamigrate/migrate/backup"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
)

// PrintBackups lists the backups that are there.
func PrintBackups(w io.Writer, s *run.Session) error {
	sets, err := backup.List(backup.Dir(s.Journal))
	if err != nil {
		return err
	}
	if len(sets) == 0 {
		_, err := show.Fprintf(w, "There is no backup in %s; `%s` makes one.\n", backup.Dir(s.Journal), s.Next("backup"))
		return err
	}
	t := tabular.New(w, "taken", "before", "revision", "keys", "etcd", "folder")
	for _, b := range sets {
		before := "–"
		if b.Phase > 0 {
			before = fmt.Sprintf("phase %d", b.Phase)
		}
		t.Add(b.At.Format(time.RFC3339), before, b.Etcd.Revision, b.Etcd.Keys, b.Etcd.Version, b.Folder)
	}
	t.Render()
	return nil
}
