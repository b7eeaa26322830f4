package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/crypto/ssh"

	"hamigrate/migrate/remote"
)

// questions is how often one thing is asked for, or a password tried on one
// host, before it is given up.
const questions = 3

// secrets are what the operator typed, in memory only and for all hosts of a
// pool: a passphrase opens a key once, and sudo's password is asked for once a
// user. Where a host has another password, it is asked for that host.
type secrets struct {
	ask  func(context.Context, string) (string, error) // nil: nobody can be asked
	turn chan struct{}                                 // one question at a time

	mu        sync.Mutex
	keys      map[string]ssh.Signer // opened, by file
	passwords map[string]string     // sudo's, by user
	refused   map[string][]string   // wrong passwords of sudo, by host
	gaveUp    map[string]error      // what there was no right answer to: not asked again
}

func newSecrets(ask func(context.Context, string) (string, error)) *secrets {
	return &secrets{ask: ask, turn: make(chan struct{}, 1),
		keys: map[string]ssh.Signer{}, passwords: map[string]string{}, refused: map[string][]string{}, gaveUp: map[string]error{}}
}

// begin waits for the turn to ask. The function it returns ends the turn.
func (s *secrets) begin(ctx context.Context) (func(), error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *secrets) key(file string) ssh.Signer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[file]
}

func (s *secrets) password(user string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.passwords[user]
}

// wrong remembers a password that was not taken. With the last that may be
// tried, err is the end.
func (s *secrets) wrong(what, password string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[what] = append(s.refused[what], password)
	if len(s.refused[what]) < questions {
		return nil
	}
	s.gaveUp[what] = err
	return err
}

func (s *secrets) wasWrong(what, password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.refused[what], password)
}

func (s *secrets) hasGivenUp(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gaveUp[what]
}

// giveUp remembers err, unless it only is that everything was stopped.
func (s *secrets) giveUp(ctx context.Context, what string, err error) error {
	if ctx.Err() == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gaveUp[what] = err
	}
	return err
}

// open asks for the passphrase of a key file, unless somebody else has.
func (s *secrets) open(ctx context.Context, file string) error {
	done, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := s.hasGivenUp(file); err != nil || s.key(file) != nil {
		return err
	}
	data, err := readSmall("identity file", file)
	if err != nil {
		return fmt.Errorf("reading the identity file: %w", err)
	}
	prefix := ""
	for range questions {
		answer, err := s.ask(ctx, fmt.Sprintf("%sPassphrase of %s: ", prefix, file))
		if err != nil {
			return s.giveUp(ctx, file, mistakef(ErrAuthentication, err, "%s is protected by a passphrase, and asking for it failed: %v; put it into an agent with: %s", file, err, remote.Cmd("ssh-add", file).Script))
		}
		signer, err := ssh.ParsePrivateKeyWithPassphrase(data, []byte(answer))
		if err == nil {
			s.mu.Lock()
			s.keys[file] = signer
			s.mu.Unlock()
			return nil
		}
		prefix = "That does not open it. "
	}
	return s.giveUp(ctx, file, mistakef(ErrAuthentication, nil, "%s was not opened by the passphrase given (%d tries); try it with: %s", file, questions, remote.Cmd("ssh-keygen", "-y", "-f", file).Script))
}

// lockedKey is a key whose passphrase is not known yet. Its public half is
// shown to the host; only when the host would take it, it is asked for.
type lockedKey struct {
	file   string
	public ssh.PublicKey
	wanted func(file string) // told when the host wants a signature
}

// errLocked ends the login that needs the key; the next one has it.
var errLocked = errors.New("the key is locked")

// PublicKey implements ssh.Signer.
func (l lockedKey) PublicKey() ssh.PublicKey { return l.public }

// Sign implements ssh.Signer.
func (l lockedKey) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	l.wanted(l.file)
	return nil, errLocked
}

// SignWithAlgorithm implements ssh.AlgorithmSigner: RSA keys have several.
func (l lockedKey) SignWithAlgorithm(rand io.Reader, data []byte, _ string) (*ssh.Signature, error) {
	return l.Sign(rand, data)
}
