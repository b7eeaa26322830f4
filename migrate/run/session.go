package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/inputfile"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/sshhost"
	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/state"
)

// Session is one command's work on one cluster: the spec, where the journal is, and
// the connections to the hosts, which are made when they are needed.
type Session struct {
	Spec    cluster.Spec
	File    string // the spec's, as it was named
	Journal string // the journal's file
	Given   string // the flags that name the cluster, for the next command
	tool    string // the version of this program, for the journal
	Log     hclog.Logger
	Pool    *sshhost.Pool
	Access  *phases.Access
	waits   waitListener
}

// SessionOptions say which cluster a session is about, and how its hosts are reached.
type SessionOptions struct {
	File    string // of the spec; "-" is standard input
	Journal string // "": beside the spec
	Given   string // the flags that name the cluster, as they were given
	Tool    string // the version of this program
	Log     hclog.Logger
	SSH     sshhost.Options
}

// waitListener passes on for which host the program waits, to whoever is to tell it now.
type waitListener struct {
	mu   sync.Mutex
	tell func(remote.Wait)
}

func (l *waitListener) hear(wait remote.Wait) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tell != nil {
		l.tell(wait)
	}
}

// TellWaits makes tell hear from now on for which host the program waits. It is
// called by several goroutines, one after the other.
func (s *Session) TellWaits(tell func(remote.Wait)) {
	s.waits.mu.Lock()
	defer s.waits.mu.Unlock()
	s.waits.tell = tell
}

// Next is a command for the same cluster: the flags that name it are repeated as
// they were given. Every command that is proposed to an operator is made here, or
// by withFlags where only the sentence is known.
func (s *Session) Next(words string) string { return "migrate " + words + s.Given }

// Close gives back the connections. What it could report, the commands
// before it have reported.
func (s *Session) Close() {
	_ = s.Access.Close()
	_ = s.Pool.Close()
}

// openJournal opens the journal for a run, and locks it.
func (s *Session) openJournal() (*state.Journal, error) {
	return state.Open(s.Journal, state.Options{Tool: s.tool})
}

// ReadJournal opens the journal to be read. One that is not there yet is empty.
func (s *Session) ReadJournal() (*state.Journal, error) {
	return state.OpenReadOnly(s.Journal, state.Options{Tool: s.tool})
}

// keepHostKeys writes to the journal which host keys nobody has compared, for the report.
func (s *Session) keepHostKeys(j *state.Journal) error {
	return runrecord.KeepHostKeys(j, s.Pool.AcceptedHostKeys())
}

// hosts adapts the pool to what the phases ask for.
type hosts struct{ pool *sshhost.Pool }

func (h hosts) Host(ctx context.Context, c cluster.Host) (remote.Host, error) {
	return h.pool.Host(ctx, c)
}

// Waits tells of answers that take long; phases.Access asks for it.
func (h hosts) Waits(c cluster.Host, what string) (done func()) { return h.pool.Waits(c, what) }

// Lost counts the connections that were lost; phases.Access asks for it.
func (h hosts) Lost() int { return h.pool.Lost() }

// Open reads the spec and finds the journal's place. No host is connected to yet.
func Open(o SessionOptions) (*Session, error) {
	file, journal := o.File, o.Journal
	// Beside a pipe, or standard input, there is no place for a journal.
	info, err := os.Stat(file)
	if journal == "" && (file == inputfile.Stdin || err == nil && !info.Mode().IsRegular() && !info.IsDir()) {
		return nil, fmt.Errorf("the spec %s is no file that lies in a folder, so the journal has no place beside it: name one with --journal", file)
	}
	spec, err := ReadSpec(file)
	if err != nil {
		return nil, err
	}
	if journal == "" {
		journal = JournalBeside(file)
	}
	if err := checkJournal(file, journal); err != nil {
		return nil, err
	}
	s := WithoutSpec(o)
	s.Describes(spec)
	s.File, s.Journal = file, journal
	return s, nil
}

// WithoutSpec is a session on hosts that no spec names yet.
func WithoutSpec(o SessionOptions) *Session {
	s := &Session{Given: o.Given, tool: o.Tool, Log: o.Log}
	s.waits.tell, o.SSH.Waits = o.SSH.Waits, s.waits.hear
	s.Pool = sshhost.NewPool(o.SSH)
	s.Describes(cluster.Spec{})
	return s
}

// Describes makes spec the session's: which hosts there are, and what each is for.
func (s *Session) Describes(spec cluster.Spec) {
	if s.Access != nil {
		_ = s.Access.Close() // of what it was asked before, the errors were told
	}
	s.Spec, s.Access = spec, phases.NewAccess(spec, hosts{s.Pool})
}

// ReadSpec reads the spec that a command is about.
func ReadSpec(file string) (cluster.Spec, error) {
	if _, err := os.Stat(file); file != inputfile.Stdin && errors.Is(err, os.ErrNotExist) {
		return cluster.Spec{}, fmt.Errorf("there is no %s: name the spec with --file, or let `migrate init root@HOST` write one, with the address of your control-plane node", file)
	}
	return cluster.Parse(file)
}

// checkJournal refuses a journal that cannot be one, before anything calls a file
// that is something else a damaged journal.
func checkJournal(spec, journal string) error {
	if inputfile.Same(spec, journal) {
		return fmt.Errorf("the spec and the journal are the same file, %s: name another one with --journal, or leave it out for %s", journal, JournalBeside(spec))
	}
	for _, name := range []string{journal, inputfile.LedTo(journal)} {
		if of := companions.FindStringSubmatch(filepath.Base(name)); of != nil {
			return fmt.Errorf("the journal %s has the name of a file that is kept beside the journal %s.journal: name another one with --journal", journal, filepath.Join(filepath.Dir(name), of[1]))
		}
	}
	return state.CheckPlace(journal)
}

// companions are what this program keeps beside a journal.
var companions = regexp.MustCompile(`^(.*?)(?:\.journal(?:\.log(?:\.[0-9]+)?|\.lock-holder|\.backups)|\.rehearsal\.json)$`)

// JournalBeside is where the journal of a spec is that nobody has named.
func JournalBeside(spec string) string {
	return strings.TrimSuffix(spec, filepath.Ext(spec)) + ".journal"
}

// NoRecords is a journal that knows nothing: what a check finds does not depend
// on it, and a look must not wait for the run that has the real one.
type NoRecords struct{}

// Records are none.
func (NoRecords) Records(int) ([]state.Record, error) { return nil, nil }
