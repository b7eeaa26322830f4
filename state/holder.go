package state

import (
	"encoding/json"
	"fmt"
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
	data, err := json.Marshal(Holder{PID: os.Getpid(), Who: whoAmI(), Since: since})
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

// whoAmI is user@host as far as the machine knows.
func whoAmI() string {
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
