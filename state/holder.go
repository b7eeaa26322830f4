package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"time"

	"github.com/google/renameio/v2"
)

// Holder is who has the journal open for writing. It stands in a file beside
// the journal, because a locked bbolt file cannot be read. It is information
// for people only: the lock itself is the file lock, which dies with its
// process, so a holder file that was left behind locks nobody out.
type Holder struct {
	PID   int       `json:"pid"`
	Who   string    `json:"who"` // user@host
	Since time.Time `json:"since"`
}

func holderPath(journal string) string { return journal + ".lock-holder" }

func writeHolder(journal string, since time.Time) error {
	data, err := json.Marshal(Holder{PID: os.Getpid(), Who: WhoAmI(), Since: since})
	if err != nil {
		return fmt.Errorf("encoding the lock holder: %w", err)
	}
	if err := renameio.WriteFile(holderPath(journal), data, 0o600); err != nil {
		return fmt.Errorf("writing who holds the journal: %w", err)
	}
	return nil
}

// readHolder returns nil when nothing useful is there.
func readHolder(journal string) *Holder {
	data, err := os.ReadFile(holderPath(journal))
	if err != nil {
		return nil
	}
	var h Holder
	if err := json.Unmarshal(data, &h); err != nil || h.Who == "" {
		return nil
	}
	return &h
}

// LeftBehind returns who had the journal open when he was killed, and clears
// that away; nil where nobody was. Where the journal is open now, that is a
// *LockedError. It looks without waiting and changes nothing in the journal.
func LeftBehind(journal string) (*Holder, error) {
	h := readHolder(journal)
	if h == nil {
		return nil, nil
	}
	j, err := OpenReadOnly(journal, Options{})
	var locked *LockedError
	if errors.As(err, &locked) {
		return nil, err
	}
	if err == nil { // a damaged one is for those who need it
		err = j.Close()
	}
	if gone := os.Remove(holderPath(journal)); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return h, err
}

// WhoAmI is user@host as far as the machine knows.
func WhoAmI() string {
	name := fmt.Sprintf("uid %d", os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return name + "@" + host
}
