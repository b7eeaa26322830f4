package console

import (
	"io"
	"strings"
	"time"

	"hamigrate/migrate/backup"
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
)

// PrintRestore says what is true now, what will be done and what is lost.
func PrintRestore(w io.Writer, p run.RestorePlan) error {
	set := p.Set
	for _, m := range p.Look.Members {
		if !m.Answers {
			show.Fprintf(w, "%s: its member does not answer, etcd.service is %s\n", m.Host, m.State)
			continue
		}
		show.Fprintf(w, "%s: its member answers at revision %d\n", m.Host, m.Revision)
		if m.Revision > set.Etcd.Revision && m.Revision < backup.RevisionBump {
			show.Fprintf(w, "   that is %d later than the backup: `migrate backup` saves it, and the restore then takes that one\n", m.Revision-set.Etcd.Revision)
		}
	}
	show.Fprintf(w, "Control-plane nodes with an API server: %s. All of them will be stopped: the API is away until the end.\n", strings.Join(p.Look.Planes, ", "))
	t := tabular.New(w, "step", "on", "what is true now")
	for _, e := range p.Entries {
		t.Add(e.Title, e.Target, e.Finding.Reason)
	}
	t.Render()
	age := time.Since(set.At).Round(time.Second)
	_, err := show.Fprintf(w, "From %s: etcd %s at revision %d, %d keys, taken %s ago (%s).\nEvery write of these %s is lost. The new cluster counts on from revision %d.\n",
		p.Folder, set.Etcd.Version, set.Etcd.Revision, set.Etcd.Keys, age, set.At.Format(time.RFC3339), age, set.Etcd.Revision+backup.RevisionBump)
	return err
}

// PrintRestored tells what is to be done after a restore.
func PrintRestored(w io.Writer, folder string) error {
	_, err := show.Fprintf(w, "Restored from %s. What was written after it is lost: restart operators that remember it, and let `migrate plan`\n"+
		"show which steps of the migration are newer than the snapshot. The remains of the old members are in %s/lost on their hosts, or in %s/migrate-lost where that is a disk of its own.\n", folder, hostfiles.StateDir, etcdflags.DataDir)
	return err
}
