package commandlog

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"hamigrate/migrate/redact"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/sshhost"
	"hamigrate/migrate/runlog"
	"hamigrate/migrate/show"
	"hamigrate/state"
)

// Beside is where the log of a journal is. Its name begins with the journal's,
// like all that belongs to it, so that no output replaces it (outputfile.Own), and so that
// `migrate run 2>&1 | tee migrate.log` has a file of its own.
func Beside(journal string) string { return journal + ".log" }

const (
	// earlyEntries are kept until it is known where the log is: the spec is read first.
	earlyEntries = 100
	// longestLine is what is kept of a line that was shown: a host may send one of 16 MiB.
	longestLine = 64 << 10
	// digestLength is how much of a SHA-256 stands in the log: to see that two are
	// the same, it is enough.
	digestLength = 12
	// complaintTime is how long the end of a command waits for the complaint about the
	// log to be written: the terminal may be held up.
	complaintTime = 2 * time.Second
)

// Log writes the log beside the journal. Its methods may be called by several
// goroutines, on nil as well, and never fail: a log that can't be written is told
// once, on complaints, and stops nothing.
type Log struct {
	complaints io.Writer
	began      time.Time
	words      []string // the command as given
	tool       string   // version of this program

	mu     sync.Mutex
	file   *runlog.File // nil: not known yet, or there is none
	run    string
	early  []runlog.Entry
	told   bool
	said   sync.WaitGroup // the complaint, while it is written
	over   bool
	unseen bool // what is shown now is not for the log
	stream map[runlog.Kind]*shownStream
}

// shownStream is what is shown on one of the outputs.
type shownStream struct {
	line strings.Builder // not ended yet
	hide redact.Lines
	lost string // why it can't be written to, as it was noted last
}

// New is the log of a command that was given in words, by a version of this
// program.
func New(complaints io.Writer, words []string, tool string) *Log {
	return &Log{complaints: complaints, began: time.Now(), words: words, tool: tool, run: rand.Text()[:8],
		stream: map[runlog.Kind]*shownStream{runlog.Out: {}, runlog.Err: {}}}
}

// Open begins the log in a file, of a command by its full name.
func (l *Log) Open(path, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil || l.over {
		return
	}
	var err error
	if l.file, err = runlog.Open(path, runlog.Limits{}); err != nil {
		l.file, l.over, l.early = nil, true, nil
		l.complain(err)
		return
	}
	folder, err := os.Getwd()
	if err != nil {
		folder = "unknown: " + err.Error()
	}
	var words []string
	for _, w := range l.words {
		words = append(words, remote.Quote(w))
	}
	l.write(runlog.Entry{At: l.began.UTC(), Kind: runlog.Begin, Begun: &runlog.Begun{
		Command: redact.Text(strings.Join(words, " ")), Name: name, Version: l.tool, Who: state.WhoAmI(), Folder: redact.Text(folder)}})
	for _, e := range l.early {
		l.write(e)
	}
	l.early = nil
}

// add writes an entry, or keeps it until the log is open. The lock is held.
func (l *Log) add(e runlog.Entry) {
	e.At = time.Now().UTC()
	switch {
	case l.file != nil:
		l.write(e)
	case !l.over && len(l.early) < earlyEntries:
		l.early = append(l.early, e)
	}
}

func (l *Log) write(e runlog.Entry) {
	e.PID, e.Run = os.Getpid(), l.run
	if err := l.file.Write(e); err != nil {
		l.complain(err)
	}
}

// complain goes to standard error and not into the log.
func (l *Log) complain(err error) {
	if !l.told {
		l.told = true
		// By a function of its own: a terminal that is held up must not hold the lock,
		// for which each command on a host waits.
		why := redact.Plain(err.Error())
		l.said.Go(func() {
			show.Fprintf(l.complaints, "migrate: the log beside the journal is not written: %s\n", why)
		})
	}
}

// Shown takes what is about to be shown on an output. What a moving line of a
// terminal shows is a line each time.
func (l *Log) Shown(kind runlog.Kind, p []byte) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unseen {
		return
	}
	s := l.stream[kind]
	text := string(p)
	for {
		at := strings.IndexAny(text, "\r\n")
		if at < 0 {
			s.keep(text)
			return
		}
		s.keep(text[:at])
		l.endLine(kind)
		text = text[at+1:]
	}
}

// Without shows what must not stand in the log, such as who is who in an archive
// without names: the log may go into the next one.
func (l *Log) Without(show func()) {
	if l == nil {
		show()
		return
	}
	set := func(unseen bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.endLines()
		l.unseen = unseen
	}
	set(true)
	defer set(false)
	show()
}

// keep adds to the line that is not ended yet.
func (s *shownStream) keep(text string) {
	if room := longestLine - s.line.Len(); room > 0 {
		s.line.WriteString(text[:min(len(text), room)])
	}
}

// endLine writes the line that is open, if there is anything in it.
func (l *Log) endLine(kind runlog.Kind) {
	s := l.stream[kind]
	line := s.line.String()
	s.line.Reset()
	if line = s.hide.Line(line); strings.TrimSpace(line) != "" {
		l.add(runlog.Entry{Kind: kind, Text: line})
	}
}

// endLines writes the lines that are open: a question has no line break.
func (l *Log) endLines() {
	l.endLine(runlog.Out)
	l.endLine(runlog.Err)
}

// Lost notes that an output can't be written to, once for a reason.
func (l *Log) Lost(kind runlog.Kind, why error) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stream[kind].lost == why.Error() {
		return
	}
	l.stream[kind].lost = why.Error()
	l.endLines()
	name := map[runlog.Kind]string{runlog.Out: "standard output", runlog.Err: "standard error"}[kind]
	l.add(runlog.Entry{Kind: runlog.Lost, Text: fmt.Sprintf("%s can't be written to (%s): the line before this and what follows was not shown there", name, firstLineOf(why.Error()))})
}

// Ran implements sshhost.Recorder.
func (l *Log) Ran(r sshhost.Ran) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	name := r.Label
	if name == "" || r.Detached {
		name = remote.Brief(r.Script)
	}
	h := &runlog.OnHost{Host: r.Host, Name: cut(redact.Text(name), 300), Script: shortSum(sha256Hex(r.Script)), Detached: r.Detached,
		Status: r.Status, Seconds: float64(r.Took.Milliseconds()) / 1000, Stdin: digest(r.Stdin), Stdout: digest(r.Stdout)}
	if r.Err != nil {
		h.Error = cut(redact.Text(r.Err.Error()), longestLine)
	}
	if r.Status != 0 {
		h.Stderr = redact.Text(r.Stderr)
	}
	l.endLines()
	l.add(runlog.Entry{Kind: runlog.Ran, Host: h})
}

// End writes how the command ended, and closes the log.
func (l *Log) End(code int, err error) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLines()
	o := runlog.Outcome{Code: code, Seconds: float64(time.Since(l.began).Milliseconds()) / 1000}
	if err != nil {
		o.Error = cut(redact.Text(err.Error()), longestLine)
	}
	l.add(runlog.Entry{Kind: runlog.End, Ended: &o})
	if l.file != nil {
		if err := l.file.Close(); err != nil {
			l.complain(err)
		}
	}
	l.file, l.over = nil, true
	said := make(chan struct{})
	go func() { l.said.Wait(); close(said) }()
	select {
	case <-said:
	case <-time.After(complaintTime):
	}
}

func shortSum(sum string) string { return sum[:min(len(sum), digestLength)] }

func digest(d sshhost.Digest) *runlog.Digest {
	if d.Bytes == 0 {
		return nil
	}
	return &runlog.Digest{Bytes: d.Bytes, SHA256: shortSum(d.SHA256)}
}

// cut keeps the beginning of a text that is too long.
func cut(s string, longest int) string {
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + fmt.Sprintf("… (%d bytes more)", len(s)-longest)
}

var _ sshhost.Recorder = (*Log)(nil)

// ErrNone is what a command that reads the log says where there is none.
var ErrNone = errors.New("there is no log yet: it is begun by the first command that looks at the cluster, such as `migrate plan`")

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
