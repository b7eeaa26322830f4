package sshhost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"sync"
	"time"

	"hamigrate/migrate/remote"
)

// Recorder is told of each command when it has ended. It may be called by
// several goroutines at once, and must not wait for anything.
type Recorder interface {
	Ran(Ran)
}

// Ran is one command that has ended. It has no content of what the command was
// given or has said, but for the end of its standard error where it failed: a
// recorder keeps what it gets, and keys and passwords pass here.
type Ran struct {
	Host string
	// Label names the command where the script is one of ours and long.
	Label  string
	Script string
	// Detached commands run apart from the connection.
	Detached bool
	Began    time.Time
	Took     time.Duration
	// Status is the exit status. Err is why there is none, or nil.
	Status int
	Err    error
	Stderr string
	// Stdin is without the password that sudo reads before the command does.
	Stdin, Stdout Digest
}

// Digest stands for a content.
type Digest struct {
	Bytes  int64
	SHA256 string // hexadecimal; "" where there was nothing
}

func digestOf(data []byte) Digest {
	if len(data) == 0 {
		return Digest{}
	}
	sum := sha256.Sum256(data)
	return Digest{int64(len(data)), hex.EncodeToString(sum[:])}
}

// counter digests what passes. It is read while something may still pass: a
// command that was given up is not waited for.
type counter struct {
	mu    sync.Mutex
	sum   hash.Hash
	bytes int64
}

func (c *counter) passed(p []byte) {
	if len(p) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sum == nil {
		c.sum = sha256.New()
	}
	c.sum.Write(p)
	c.bytes += int64(len(p))
}

func (c *counter) digest() Digest {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sum == nil {
		return Digest{}
	}
	return Digest{c.bytes, hex.EncodeToString(c.sum.Sum(nil))}
}

type countedReader struct {
	io.Reader
	*counter
}

func (r countedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.passed(p[:n])
	return n, err
}

type countedWriter struct {
	io.Writer
	*counter
}

func (w countedWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.passed(p[:max(n, 0)])
	return n, err
}

// recorded returns the call with what passes counted, and what tells the
// recorder of its end. Without a recorder nothing is counted.
func (h *Host) recorded(c call) (call, func(error)) {
	to := h.shared.options.Recorder
	if to == nil {
		return c, func(error) {}
	}
	in, out := new(counter), new(counter)
	if c.stdin != nil {
		c.stdin = countedReader{c.stdin, in}
	}
	if c.stdout == nil {
		c.stdout = io.Discard
	}
	c.stdout = countedWriter{c.stdout, out}
	began := time.Now()
	return c, func(err error) {
		to.Ran(ended(Ran{Host: h.target.name, Label: c.label, Script: c.script, Began: began, Took: time.Since(began),
			Stdin: in.digest(), Stdout: out.digest()}, err))
	}
}

// recordDetached tells the recorder of a detached command as of one command,
// besides those that start it and wait for it.
func (h *Host) recordDetached(c remote.Command, began time.Time, out string, err error) {
	to := h.shared.options.Recorder
	if to == nil {
		return
	}
	to.Ran(ended(Ran{Host: h.target.name, Label: c.Detach, Script: c.Script, Detached: true, Began: began, Took: time.Since(began),
		Stdin: digestOf(c.Stdin), Stdout: digestOf([]byte(out))}, err))
}

// ended adds how a command ended.
func ended(r Ran, err error) Ran {
	var exit *remote.ExitError
	if errors.As(err, &exit) {
		r.Status, r.Stderr = exit.Status, exit.Stderr
		return r
	}
	r.Err = err
	return r
}
