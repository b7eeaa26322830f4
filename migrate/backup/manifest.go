// Package backup saves what a cluster can be brought back from, on the
// operator's machine: a snapshot of etcd and an archive of /etc/kubernetes of
// the first control-plane node. A backup counts only when it was checked: the
// snapshot by etcd's own tools, by a trial restore and by the hash of the
// member it came from; the archive by reading it back and asking the node for
// the checksums of its files.
//
// It is for the emergency door (docs/restore.md). The way back of a phase is
// another one: rollback loses no write, a snapshot loses all since it.
//
// What is in a backup is as secret as the cluster: etcd holds every Secret,
// and the archive holds sa.key and admin.conf. Folders are 0700 and files
// 0600. The private keys of the cluster's CAs are not in it: they never leave
// their node.
package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"hamigrate/migrate/inputfile"
)

// The files of a backup's folder.
const (
	SnapshotFile = "etcd.db"
	ArchiveFile  = "kubernetes.tar.gz"
	ManifestFile = "manifest.json"
)

// format is what this version writes; a newer one is refused.
const format = 1

// Manifest says what is in a backup and what was checked of it. It is written
// last: a folder without one is no backup.
type Manifest struct {
	Format            int       `json:"format"`
	Tool              string    `json:"tool"`
	At                time.Time `json:"at"`              // when the snapshot was begun, UTC
	Phase             int       `json:"phase,omitempty"` // taken before this phase's first change; 0: by hand
	Cluster           string    `json:"cluster"`         // the spec's name
	Identity          string    `json:"identity"`        // UID of the namespace kube-system
	KubernetesVersion string    `json:"kubernetesVersion,omitempty"`
	Etcd              Snapshot  `json:"etcd"`
	Kubernetes        Archive   `json:"kubernetes"`
}

// File is one file of a backup.
type File struct {
	Name   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Snapshot is the snapshot with what the member and etcd's tools said of it.
type Snapshot struct {
	File
	Host       string `json:"host"` // whose member it was taken from
	MemberID   string `json:"memberID"`
	ClusterID  string `json:"clusterID"`
	Version    string `json:"version"` // of the member's etcd
	Storage    string `json:"storageVersion,omitempty"`
	Revision   int64  `json:"revision"`
	Keys       int    `json:"totalKeys"`
	Hash       string `json:"hash"` // as `etcdutl snapshot status` prints it
	HashKV     string `json:"hashKV"`
	HashKVSame string `json:"hashKVCompared"` // "equal to the member's", or why it was not compared
	NoLeader   bool   `json:"noLeader,omitempty"`
}

// Archive is the archive of /etc/kubernetes.
type Archive struct {
	File
	Node    string   `json:"node"`
	Files   int      `json:"files"`
	LeftOut []string `json:"leftOut"` // and why
}

// Set is a backup on disk.
type Set struct {
	Folder string
	Manifest
}

// Path is the path of one of its files.
func (s Set) Path(file string) string { return filepath.Join(s.Folder, file) }

// Dir is where the backups of a journal are.
func Dir(journal string) string { return journal + ".backups" }

// List returns the backups in a folder, the oldest first. Folders without a
// manifest are leftovers of one that was cut.
func List(dir string) ([]Set, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing backups: %w", err)
	}
	var sets []Set
	for _, e := range entries {
		if !e.IsDir() || e.Name()[0] == '.' {
			continue
		}
		s, err := read(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		sets = append(sets, s)
	}
	slices.SortStableFunc(sets, func(a, b Set) int { return a.At.Compare(b.At) })
	return sets, nil
}

func read(folder string) (Set, error) {
	const most = 1 << 20
	data, err := inputfile.Kind{What: "list of a backup's files", Max: most}.Read(filepath.Join(folder, ManifestFile))
	if err != nil {
		return Set{}, fmt.Errorf("reading the backup %s: %w", folder, err)
	}
	s := Set{Folder: folder}
	if err := json.Unmarshal(data, &s.Manifest); err != nil {
		return Set{}, fmt.Errorf("reading %s in %s: %w", ManifestFile, folder, err)
	}
	if s.Format < 1 || s.Format > format {
		return Set{}, fmt.Errorf("the backup %s has format %d and this version knows 1 to %d: use the version that wrote it (%s)", folder, s.Format, format, s.Tool)
	}
	return s, nil
}

// Load reads a backup and checks that its files are what the manifest says,
// to the last byte.
func Load(folder string) (Set, error) {
	s, err := read(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return Set{}, fmt.Errorf("%s is no backup: it has no %s; `migrate backup --list` names those that are there", folder, ManifestFile)
	}
	if err != nil {
		return Set{}, err
	}
	for _, want := range []File{s.Etcd.File, s.Kubernetes.File} {
		have, err := fileOf(s.Path(want.Name), want.Name)
		if err != nil {
			return Set{}, fmt.Errorf("checking the backup %s: %w", folder, err)
		}
		if have != want {
			return Set{}, fmt.Errorf("%s in %s is not what was saved: %d bytes with SHA-256 %.12s…, the manifest says %d bytes with %.12s…: use another backup",
				want.Name, folder, have.Bytes, have.SHA256, want.Bytes, want.SHA256)
		}
	}
	return s, nil
}

// fileOf measures a file.
func fileOf(path, name string) (File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return File{}, err
	}
	if !info.Mode().IsRegular() { // a pipe or a device may have no end
		return File{}, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return File{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return File{Name: name, Bytes: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}
