package runrecord

import "time"

// BackupsBlob is the journal's list of the backups that runs took.
const BackupsBlob = "backups"

// Backup is what the report tells of one.
type Backup struct {
	Phase    int       `json:"phase"`
	At       time.Time `json:"at"`
	Seconds  float64   `json:"seconds"`
	Folder   string    `json:"folder"`
	Member   string    `json:"member"`
	Version  string    `json:"etcdVersion"`
	Revision int64     `json:"revision"`
	Keys     int       `json:"keys"`
	Bytes    int64     `json:"bytes"` // of the snapshot
	Hash     string    `json:"hash"`
	Files    int       `json:"files"` // of /etc/kubernetes
}
