// Package commandlog keeps and shows the log beside the journal: of each command what
// was shown, which commands it ran on which hosts, and how it ended. Its lines are
// those of package runlog; secrets are hidden before they are written.
package commandlog
