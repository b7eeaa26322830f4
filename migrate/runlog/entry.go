package runlog

import (
	"encoding/json"
	"fmt"
	"time"
)

// Kind is one of the kinds below.
type Kind string

// The kinds of an entry. A command begins with Begin and ends with End; one that was
// killed has no End. Out and Err are lines that were shown on standard output and
// standard error; Lost says that from there on they could not be. Ran is a command
// on a host. Unread is what Read did not understand; it is never written.
const (
	Begin  Kind = "begin"
	Out    Kind = "out"
	Err    Kind = "err"
	Lost   Kind = "lost"
	Ran    Kind = "ran"
	End    Kind = "end"
	Unread Kind = "unread"
)

// Entry is one line of the log. Fields are added, never renamed.
type Entry struct {
	At   time.Time `json:"at"` // UTC
	PID  int       `json:"pid"`
	Run  string    `json:"run"` // the same for all entries of a command
	Kind Kind      `json:"kind"`
	Text string    `json:"text,omitempty"`

	Lines int      `json:"lines,omitempty"` // of Unread: how many; Text is the first
	Begun *Begun   `json:"begun,omitempty"`
	Host  *OnHost  `json:"command,omitempty"`
	Ended *Outcome `json:"ended,omitempty"`
}

// Begun says what a command was.
type Begun struct {
	Command string `json:"command"` // as given
	Name    string `json:"name"`    // "migrate run"
	Version string `json:"version"`
	Who     string `json:"who"`    // user@machine
	Folder  string `json:"folder"` // where it was given
}

// OnHost is one command on a host.
type OnHost struct {
	Host string `json:"host"`
	// Name is the script, or its first line, or what stands for it.
	Name     string  `json:"name"`
	Script   string  `json:"scriptSha256"` // of the whole script
	Detached bool    `json:"detached,omitempty"`
	Status   int     `json:"status"`
	Error    string  `json:"error,omitempty"` // why there is no status
	Seconds  float64 `json:"seconds"`
	Stdin    *Digest `json:"stdin,omitempty"`
	Stdout   *Digest `json:"stdout,omitempty"`
	Stderr   string  `json:"stderr,omitempty"` // its end, where the command failed
}

// Failed says whether it ended otherwise than with 0.
func (h *OnHost) Failed() bool { return h != nil && (h.Status != 0 || h.Error != "") }

// Digest stands for a content: its length, and the beginning of its SHA-256.
type Digest struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256,omitempty"`
}

// Outcome says how a command ended.
type Outcome struct {
	Code    int     `json:"code"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

// Write appends an entry.
func (f *File) Write(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding an entry of the log: %w", err)
	}
	return f.Append(append(line, '\n'))
}
