package sshhost

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"

	"hamigrate/migrate/remote"
)

// prefaceLimit bounds what is kept of what a server says before its version.
const prefaceLimit = 512

// penalised is what OpenSSH says, since 9.8, to an address whose last connections
// ended without a login, and hangs up (sshd_config(5), PerSourcePenalties).
const penalised = "Not allowed at this time"

// preface is what a server says before its version line (RFC 4253, section 4.2).
// An sshd that does not serve this address says there why, and hangs up; x/crypto/ssh
// reads past it, and tells of the end alone.
type preface struct {
	mu   sync.Mutex
	text []byte
	over bool // the version line has begun, or the text is too long
}

// take reads what came over the wire.
func (p *preface) take(data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.text = append(p.text, data[:min(len(data), prefaceLimit-len(p.text))]...)
	if i := bytes.Index(append([]byte("\n"), p.text...), []byte("\nSSH-")); i >= 0 {
		p.text, p.over = p.text[:i], true
	}
	p.over = p.over || len(p.text) == prefaceLimit
}

// explain adds the server's words to the error of a login that never began. Only whole
// lines are words: what sends bytes without an end is no SSH server.
func (p *preface) explain(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	said := strings.TrimSpace(string(p.text[:bytes.LastIndexByte(p.text, '\n')+1]))
	if said == "" {
		return err
	}
	return &prefaceError{said: said, err: err}
}

// prefaceError is a server that said something in place of its version.
type prefaceError struct {
	said string
	err  error
}

func (e *prefaceError) Error() string {
	return fmt.Sprintf("its SSH server says %q, and ends the connection: %v", remote.Excerpt(e.said), e.err)
}

func (e *prefaceError) Unwrap() error { return e.err }

// isPenalty says whether a server refuses this machine's address for a while. Asking
// again within seconds is in vain.
func isPenalty(err error) bool {
	var p *prefaceError
	return errors.As(err, &p) && strings.HasPrefix(p.said, penalised)
}
