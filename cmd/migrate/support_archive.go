package main

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
	"runtime"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/redact"
	"hamigrate/migrate/runlog"
	"hamigrate/migrate/runrecord"
	"hamigrate/migrate/show"
	"hamigrate/state"

	"golang.org/x/sys/unix"
)

const (
	archiveFolder = "migrate-support"
	// logInArchive is how much of the log goes with it, the newest of it.
	logInArchive = 10 << 20
)

// archive is gathered in memory and written at once: it is small, and half of one
// helps nobody. Whatever goes into it goes through redact, and through names.
type archive struct {
	at    time.Time
	home  string
	names *aliases // nil: names stay
	files []archived
	lack  []string // what is not in it, and why
}

type archived struct {
	name, what string
	data       []byte
}

func newArchive(at time.Time) *archive {
	home, err := os.UserHomeDir()
	if err != nil || len(home) < 2 {
		home = ""
	}
	return &archive{at: at, home: home}
}

// hideNames begins --anonymous, before anything is added.
func (a *archive) hideNames(spec cluster.Spec) { a.names = aliasesOf(spec, state.WhoAmI()) }

// others makes a text, redacted already, one for others: the home folder is nobody's
// business.
func (a *archive) others(text string) string {
	if a.home != "" {
		text = strings.ReplaceAll(text, a.home, "~")
	}
	if a.names != nil {
		text = a.names.in(text)
	}
	return text
}

// add adds a value as JSON.
func (a *archive) add(name, what string, v any) {
	data, err := redact.JSON(v, a.others)
	if err != nil {
		a.lacks(name, err)
		return
	}
	a.files = append(a.files, archived{name, what, data})
}

// lacks notes why a file is not there.
func (a *archive) lacks(name string, why error) {
	a.lack = append(a.lack, fmt.Sprintf("%s: %s", name, strings.ReplaceAll(a.others(redact.Text(why.Error())), "\n", "; ")))
}

// addLog adds the newest entries of the log. Digests are left out of it: who knows
// all of a content but a password could try passwords with one.
func (a *archive) addLog(path string) {
	entries, err := runlog.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = errNoLog
	}
	if err != nil {
		a.lacks("log.jsonl", err)
		return
	}
	// What is no entry was written by somebody else, and its lines may be parts of
	// anything.
	left := 0
	whole := slices.DeleteFunc(entries, func(e runlog.Entry) bool { left += e.Lines; return e.Kind == runlog.Unread })
	if left > 0 {
		a.lacks("log.jsonl", fmt.Errorf("%d lines of the file that are no entries of the log", left))
	}
	entries = whole
	var lines [][]byte
	size := 0
	for i := len(entries) - 1; i >= 0 && size < logInArchive; i-- {
		line, err := a.logLine(entries[i])
		if err != nil {
			a.lacks("log.jsonl", err)
			return
		}
		lines, size = append(lines, line), size+len(line)
	}
	if left := len(entries) - len(lines); left > 0 {
		a.lacks("log.jsonl", fmt.Errorf("its oldest %d entries, since it is longer than %d MiB", left, logInArchive>>20))
	}
	var out bytes.Buffer
	for i := len(lines) - 1; i >= 0; i-- {
		out.Write(lines[i])
	}
	a.files = append(a.files, archived{"log.jsonl", "the log beside the journal, an entry a line", out.Bytes()})
}

func (a *archive) logLine(e runlog.Entry) ([]byte, error) {
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
func (a *archive) manifest() string {
	var b strings.Builder
	show.Fprintf(&b, "Written by `migrate support`, version %s, %s.\n\nIn this archive:\n", version, a.at.Format(time.RFC3339))
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

// write writes the archive to a file that must not be there.
func (a *archive) write(file string) (err error) {
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

func (a *archive) pack(w io.Writer) error {
	zip := gzip.NewWriter(w)
	out := tar.NewWriter(zip)
	all := append([]archived{{name: "MANIFEST.txt", data: []byte(a.manifest())}}, a.files...)
	for _, f := range all {
		head := &tar.Header{Name: archiveFolder + "/" + f.name, Mode: 0o600, Size: int64(len(f.data)), ModTime: a.at, Format: tar.FormatPAX}
		if err := out.WriteHeader(head); err != nil {
			return err
		}
		if _, err := out.Write(f.data); err != nil {
			return err
		}
	}
	return errors.Join(out.Close(), zip.Close())
}

// here is what a helper wants to know of the machine and of how this was called. Of
// variables only whether they are set.
type here struct {
	Version  string            `json:"version"`
	At       time.Time         `json:"at"`
	Go       string            `json:"go"`
	System   string            `json:"system"`
	Kernel   string            `json:"kernel"`
	Who      string            `json:"who"`
	Folder   string            `json:"folder"`
	Terminal map[string]bool   `json:"terminal"`
	Set      map[string]bool   `json:"set"`
	Language map[string]string `json:"language"`
}

func aboutHere(at time.Time) here {
	h := here{Version: version, At: at, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Who: state.WhoAmI(),
		Terminal: map[string]bool{"stdin": show.IsTerminal(os.Stdin), "stdout": show.IsTerminal(os.Stdout), "stderr": show.IsTerminal(os.Stderr)},
		Set:      map[string]bool{}, Language: map[string]string{}}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if folder, err := os.Getwd(); err == nil {
		h.Folder = folder
	}
	for _, name := range []string{"HOME", "PATH", "SSH_AUTH_SOCK", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "TMUX", "STY", "SSH_CONNECTION", "CI", "INVOCATION_ID"} {
		_, h.Set[name] = os.LookupEnv(name)
	}
	for _, name := range []string{"LANG", "LC_ALL", "TERM", "TZ"} {
		if v := os.Getenv(name); v != "" {
			h.Language[name] = v
		}
	}
	return h
}

// specForOthers is the spec without the names of files on this machine.
func specForOthers(spec cluster.Spec) cluster.Spec {
	clean := func(s cluster.SSH) cluster.SSH {
		for _, p := range []*string{&s.IdentityFile, &s.KnownHostsFile} {
			if *p != "" {
				*p = "(a file)"
			}
		}
		return s
	}
	list := func(hosts []cluster.Host) []cluster.Host {
		var out []cluster.Host
		for _, h := range hosts {
			h.SSH = clean(h.SSH)
			out = append(out, h)
		}
		return out
	}
	spec.SSH = clean(spec.SSH)
	spec.LoadBalancer.Hosts, spec.Etcd.Hosts, spec.Workers = list(spec.LoadBalancer.Hosts), list(spec.Etcd.Hosts), list(spec.Workers)
	spec.ControlPlane.Joining = list(spec.ControlPlane.Joining)
	spec.ControlPlane.First.SSH = clean(spec.ControlPlane.First.SSH)
	if strings.Contains(spec.Etcd.Binary, "/") {
		spec.Etcd.Binary = "(a file)"
	}
	return spec
}

// journalDump is the journal as JSON.
type journalDump struct {
	Cluster string              `json:"cluster"`
	Runs    []state.Run         `json:"runs"`
	Phases  map[int]state.Phase `json:"phases"`
	Records []state.Record      `json:"records"`
	History []state.LogEntry    `json:"history"`
	Kept    map[string]any      `json:"kept"`
}

func dumpJournal(j *state.Journal) (journalDump, error) {
	d := journalDump{Phases: map[int]state.Phase{}, Kept: map[string]any{}}
	var err error
	if d.Cluster, err = j.Cluster(); err != nil {
		return d, err
	}
	if d.Runs, err = j.Runs(); err != nil {
		return d, err
	}
	if d.History, err = j.Log(); err != nil {
		return d, err
	}
	for _, n := range []int{1, 2, 3, 8, 9} { // 8 renews certificates, 9 restores
		if d.Phases[n], err = j.Phase(n); err != nil {
			return d, err
		}
		records, err := j.Records(n)
		if err != nil {
			return d, err
		}
		d.Records = append(d.Records, records...)
	}
	for _, name := range []string{"about", runrecord.TimingsBlob, runrecord.HostKeysBlob, runrecord.BackupsBlob, renewalBlob, restoreBlob} {
		var v any
		if known, err := j.GetBlob(name, &v); err != nil {
			return d, err
		} else if known {
			d.Kept[name] = v
		}
	}
	return d, nil
}
