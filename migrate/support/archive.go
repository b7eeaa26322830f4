// Package support writes one archive for somebody who helps: what was done and what is
// true now, without secrets. Whatever goes into it is redacted, and where that is wanted
// names and addresses are replaced by aliases.
package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/commandlog"
	"hamigrate/migrate/redact"
	"hamigrate/migrate/runlog"
	"hamigrate/migrate/show"
	"hamigrate/state"
)

const (
	Folder = "migrate-support"
	// logInArchive is how much of the log goes with it, the newest of it.
	logInArchive = 10 << 20
)

// Archive is gathered in memory and written at once: it is small, and half of one
// helps nobody. Whatever goes into it goes through redact, and through names.
type Archive struct {
	at    time.Time
	tool  string // version of this program
	home  string
	names *aliases // nil: names stay
	files []archived
	lack  []string // what is not in it, and why
}

type archived struct {
	name, what string
	data       []byte
}

// New begins an archive of a time, by a version of this program.
func New(at time.Time, tool string) *Archive {
	home, err := os.UserHomeDir()
	if err != nil || len(home) < 2 {
		home = ""
	}
	return &Archive{at: at, tool: tool, home: home}
}

// HideNames begins --anonymous, before anything is added.
func (a *Archive) HideNames(spec cluster.Spec) { a.names = aliasesOf(spec, state.WhoAmI()) }

// others makes a text, redacted already, one for others: the home folder is nobody's
// business.
func (a *Archive) others(text string) string {
	if a.home != "" {
		text = strings.ReplaceAll(text, a.home, "~")
	}
	if a.names != nil {
		text = a.names.in(text)
	}
	return text
}

// Add adds a value as JSON.
func (a *Archive) Add(name, what string, v any) {
	data, err := redact.JSON(v, a.others)
	if err != nil {
		a.Lacks(name, err)
		return
	}
	a.files = append(a.files, archived{name, what, data})
}

// Lacks notes why a file is not there.
func (a *Archive) Lacks(name string, why error) {
	a.lack = append(a.lack, fmt.Sprintf("%s: %s", name, strings.ReplaceAll(a.others(redact.Text(why.Error())), "\n", "; ")))
}

// AddLog adds the newest entries of the log. Digests are left out of it: who knows
// all of a content but a password could try passwords with one.
func (a *Archive) AddLog(path string) {
	entries, err := runlog.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = commandlog.ErrNone
	}
	if err != nil {
		a.Lacks("log.jsonl", err)
		return
	}
	// What is no entry was written by somebody else, and its lines may be parts of
	// anything.
	left := 0
	whole := slices.DeleteFunc(entries, func(e runlog.Entry) bool { left += e.Lines; return e.Kind == runlog.Unread })
	if left > 0 {
		a.Lacks("log.jsonl", fmt.Errorf("%d lines of the file that are no entries of the log", left))
	}
	entries = whole
	var lines [][]byte
	size := 0
	for i := len(entries) - 1; i >= 0 && size < logInArchive; i-- {
		line, err := a.logLine(entries[i])
		if err != nil {
			a.Lacks("log.jsonl", err)
			return
		}
		lines, size = append(lines, line), size+len(line)
	}
	if left := len(entries) - len(lines); left > 0 {
		a.Lacks("log.jsonl", fmt.Errorf("its oldest %d entries, since it is longer than %d MiB", left, logInArchive>>20))
	}
	var out bytes.Buffer
	for i := len(lines) - 1; i >= 0; i-- {
		out.Write(lines[i])
	}
	a.files = append(a.files, archived{"log.jsonl", "the log beside the journal, an entry a line", out.Bytes()})
}

func (a *Archive) logLine(e runlog.Entry) ([]byte, error) {
	if e.Host != nil {
		h := *e.Host
		for _, d := range []**runlog.Digest{&h.Stdin, &h.Stdout} {
			if *d != nil {
				*d = &runlog.Digest{Bytes: (*d).Bytes}
			}
		}
		e.Host = &h
	}
	data, err := redact.JSON(e, a.others)
	if err != nil {
		return nil, err
	}
	var line bytes.Buffer
	if err := json.Compact(&line, data); err != nil {
		return nil, fmt.Errorf("encoding an entry of the log: %w", err)
	}
	line.WriteByte('\n')
	return line.Bytes(), nil
}

// manifest lists what is in the archive and what is not.
func (a *Archive) manifest() string {
	var b strings.Builder
	show.Fprintf(&b, "Written by `migrate support`, version %s, %s.\n\nIn this archive:\n", a.tool, a.at.Format(time.RFC3339))
	for _, f := range a.files {
		show.Fprintf(&b, "  %-15s %8d bytes  %s\n", f.name, len(f.data), f.what)
	}
	b.WriteString("\nNot in it:\n")
	for _, l := range a.lack {
		show.Fprintf(&b, "  %s\n", l)
	}
	b.WriteString("  backups and snapshots of etcd: they hold every Secret of the cluster\n" +
		"  files of hosts, and what commands on hosts printed, but for the end of what a failed one said\n" +
		"  comments of the spec, and the names of key files\n\n" +
		"Secrets are hidden as [hidden], those that nobody can guess as [hidden XXXXXXXX], where equal ones are seen to be equal.\n" +
		"They are known by their form (keys, tokens, long base64) or by the name before them; so look yourself, too.\n")
	if a.names == nil {
		b.WriteString("Names and addresses of hosts and users are as they are.\n")
	} else {
		b.WriteString("Names and addresses of hosts and users are replaced, the same by the same: those of the spec and of this machine,\nnames below the same domains, and all IP addresses. Another name in a message of a program may be left.\n")
	}
	return b.String()
}

// Save writes the archive to a file that must not be there.
func (a *Archive) Save(file string) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing the file of --out: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(fmt.Errorf("writing the file of --out: %w", err), os.Remove(file))
		}
	}()
	return a.pack(f)
}

func (a *Archive) pack(w io.Writer) error {
	zip := gzip.NewWriter(w)
	out := tar.NewWriter(zip)
	all := append([]archived{{name: "MANIFEST.txt", data: []byte(a.manifest())}}, a.files...)
	for _, f := range all {
		head := &tar.Header{Name: Folder + "/" + f.name, Mode: 0o600, Size: int64(len(f.data)), ModTime: a.at, Format: tar.FormatPAX}
		if err := out.WriteHeader(head); err != nil {
			return err
		}
		if _, err := out.Write(f.data); err != nil {
			return err
		}
	}
	return errors.Join(out.Close(), zip.Close())
}

// TellNames tells who is who, so that an answer about host-1 is understood.
func (a *Archive) TellNames(w io.Writer) {
	if a.names == nil {
		return
	}
	show.Fprintln(w, "In it stands:")
	for _, pair := range a.names.pairs() {
		show.Fprintf(w, "  %s for %s\n", pair[1], pair[0])
	}
}
