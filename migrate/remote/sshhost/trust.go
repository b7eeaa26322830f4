package sshhost

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// acceptedMark is the comment of the lines that are added to known_hosts. It
// says who added them, when, and that nobody compared the fingerprint.
const acceptedMark = "migrate:accept-new-host-keys"

// HostKey is a host key that is trusted because it was the first one shown.
type HostKey struct {
	Host        string    `json:"host"`
	Address     string    `json:"address"` // as known_hosts has it
	Type        string    `json:"type"`
	Fingerprint string    `json:"fingerprint"` // SHA256:…
	File        string    `json:"file"`
	At          time.Time `json:"at"`
}

// trust is what a pool does about host keys that nobody knows.
type trust struct {
	acceptNew bool
	tell      func(string)

	mu   sync.Mutex // also one writer of known_hosts
	seen []HostKey
}

func (t *trust) list() []HostKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.seen)
}

// accept adds a key to the target's known_hosts file. Nothing may be known of
// the host: that is looked at again, with the file as it is now.
func (t *trust) accept(to target, key ssh.PublicKey, addr net.Addr) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, err := openHostKeys(to, t)
	if err != nil {
		return err
	}
	err = now.known.check(to.known(), addr, key)
	var unknown *xknownhosts.KeyError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &unknown) || len(unknown.Want) > 0:
		return err
	}
	name := knownhosts.Normalize(to.known())
	if to.hashHosts {
		name = xknownhosts.HashHostname(name)
	}
	line := fmt.Sprintf("%s %s %s %s\n", name, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))),
		acceptedMark, time.Now().UTC().Format(time.RFC3339))
	if err := appendLine(to.knownHosts, line); err != nil {
		return fmt.Errorf("adding the host key of %s: %w", to.name, err)
	}
	if t.tell != nil {
		t.tell(fmt.Sprintf("accepted the host key of %s (%s), which nobody had compared: %s %s, added to %s. On the host's own console `ssh-keygen -lf %s` must print the same",
			to.name, to.address, key.Type(), ssh.FingerprintSHA256(key), to.knownHosts, keyFile(key)))
	}
	return nil
}

// appendLine adds a line to a file that may not be there, or not end in a
// line break.
func appendLine(file, line string) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if info, err := f.Stat(); err != nil {
		return err
	} else if size := info.Size(); size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line = "\n" + line
		}
	}
	if _, err := f.WriteString(line); err != nil {
		return err
	}
	return f.Sync()
}

// note remembers a trusted key that stands in known_hosts by acceptance.
func (t *trust) note(of target, key ssh.PublicKey) {
	at, file, accepted := acceptedAt(of, key)
	if !accepted {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	have := func(k HostKey) bool { return k.Host == of.name && k.Fingerprint == ssh.FingerprintSHA256(key) }
	if !slices.ContainsFunc(t.seen, have) {
		t.seen = append(t.seen, HostKey{Host: of.name, Address: knownhosts.Normalize(of.known()), Type: key.Type(),
			Fingerprint: ssh.FingerprintSHA256(key), File: file, At: at})
	}
}

// acceptedAt looks for the key in a line with our mark. Whoever has compared
// the fingerprint removes the mark, and the key is one like any other.
func acceptedAt(of target, key ssh.PublicKey) (at time.Time, file string, accepted bool) {
	text := []byte(base64.StdEncoding.EncodeToString(key.Marshal()))
	for _, file := range of.hostKeyFiles() {
		// A file that cannot be read was read a moment ago; then it is not there.
		_ = eachKnownLine(file, func(_ int, line []byte) {
			_, comment, marked := bytes.Cut(line, []byte(acceptedMark))
			if accepted || !marked || !bytes.Contains(line, text) {
				return
			}
			// A time that cannot be read is none; the mark counts.
			at, _ = time.Parse(time.RFC3339, string(bytes.TrimSpace(comment)))
			accepted = true
		})
		if accepted {
			return at, file, true
		}
	}
	return time.Time{}, "", false
}
