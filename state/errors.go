package state

import (
	"errors"
	"fmt"
	"time"
)

// ErrLocked is what errors.Is finds in a *LockedError.
var ErrLocked = errors.New("journal is in use")

// ErrReadOnly is returned by every write to a journal from OpenReadOnly.
var ErrReadOnly = errors.New("journal was opened for reading only")

// LockedError says that another process has the journal open.
type LockedError struct {
	Path string
	// Holder is what the other process wrote down of itself; nil when it
	// wrote nothing (it only reads) or that cannot be read.
	Holder *Holder
}

func (e *LockedError) Error() string {
	who := "another process"
	if h := e.Holder; h != nil {
		who = fmt.Sprintf("%s (process %d, since %s)", h.Who, h.PID, h.Since.UTC().Format(time.DateTime+" UTC"))
	}
	return fmt.Sprintf("the journal %s is in use by %s: wait until that has ended, or stop it there; "+
		"a run that is interrupted once finishes the step at hand first", e.Path, who)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// FormatError says that the file cannot be read by this version.
type FormatError struct {
	Path  string
	Found int    // format of the file; 0: it is not a journal
	Tool  string // version that wrote it; may be empty
}

func (e *FormatError) Error() string {
	if e.Found == 0 {
		return fmt.Sprintf("%s is not a journal of this program, or it is damaged: name another file with --journal, "+
			"or move a damaged one away and let `migrate adopt` rebuild it from the cluster", e.Path)
	}
	tool := ""
	if e.Tool != "" {
		tool = " by version " + e.Tool
	}
	return fmt.Sprintf("the journal %s was written%s in format %d and this version reads up to format %d: use a newer version of migrate",
		e.Path, tool, e.Found, format)
}

// ClusterError says that the journal belongs to another cluster.
type ClusterError struct {
	Path      string
	Want, Got string // identity in the journal, identity of the cluster at hand
}

func (e *ClusterError) Error() string {
	return fmt.Sprintf("the journal %s belongs to the cluster with identity %s, but the spec leads to the cluster %s: "+
		"name this cluster's journal, or a new file, with --journal", e.Path, e.Want, e.Got)
}
