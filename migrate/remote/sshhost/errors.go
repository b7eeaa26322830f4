package sshhost

import (
	"context"
	"errors"
	"fmt"

	"hamigrate/migrate/remote"
)

// Kinds of user mistake; ask with errors.Is. The message beside each names
// the host, what is true now and the next command.
var (
	// ErrUnknownHostKey is a host that known_hosts says nothing about.
	ErrUnknownHostKey = errors.New("unknown host key")
	// ErrHostKeyChanged is a host that shows another key than known_hosts
	// has, or a revoked one, or a certificate that does not hold. It is never
	// to be retried.
	ErrHostKeyChanged = errors.New("host key changed")
	// ErrAuthentication is a host that accepts none of our keys, or that we
	// have no key for.
	ErrAuthentication = errors.New("login refused")
	// ErrPrivilege is a login user who is not root and may not sudo.
	ErrPrivilege = errors.New("no root rights")
	// ErrUnreachable is a host that does not answer on its SSH port, or whose
	// bastion does not.
	ErrUnreachable = errors.New("unreachable")
	// ErrOtherHost is a host that ~/.ssh/config leads to and that is not the
	// one that the spec means.
	ErrOtherHost = errors.New("another host")
	// ErrSilent is a host that lets us in, or lets us begin to, and then does not
	// answer.
	ErrSilent = errors.New("silent")
	// ErrForwarding is an sshd that forbids forwarding to the address asked
	// for in DialContext.
	ErrForwarding = errors.New("forwarding forbidden")
	// ErrOutputLimit is a command or a file with more than 16 MiB of output.
	ErrOutputLimit = errors.New("more than 16 MiB of output")
	// ErrClosed is a Host or Pool used after its Close.
	ErrClosed = errors.New("host was closed")
)

// mistake is a sentence for the operator with the kind of its cause.
type mistake struct {
	kind  error
	cause error // may be nil
	text  string
}

func (m *mistake) Error() string { return m.text }

// OwnWords is the sentence, which ends in words of ours, whatever its cause has
// said.
func (m *mistake) OwnWords() string { return m.text }

func (m *mistake) Unwrap() []error {
	if m.cause == nil {
		return []error{m.kind}
	}
	return []error{m.kind, m.cause}
}

func mistakef(kind, cause error, format string, args ...any) error {
	return &mistake{kind: kind, cause: cause, text: fmt.Sprintf(format, args...)}
}

// cut is an error in which a host has put words of its own, of which there may be
// many.
func cut(err error) error { return cutError{err} }

type cutError struct{ error }

func (c cutError) Error() string { return remote.Excerpt(c.error.Error()) }
func (c cutError) Unwrap() error { return c.error }

// unreachable makes a sentence of a dial that failed for a reason that is not
// one of the operator's mistakes above. One that was only stopped stays.
func unreachable(ctx context.Context, t target, err error) error {
	if m := (*mistake)(nil); ctx.Err() != nil || errors.As(err, &m) || errors.Is(err, ErrClosed) {
		return err
	}
	if isPenalty(err) {
		return mistakef(ErrUnreachable, err,
			"%s (%s) refuses this machine's address for a while: its sshd does so after connections that ended without a login (PerSourcePenalties); wait for at least 15 s, and look why logins fail there, or name this machine in PerSourcePenaltyExemptList of its sshd_config; then see what your own ssh says: %s true",
			t.name, t.address, t.byHand())
	}
	return mistakef(ErrUnreachable, err,
		"%s (%s) cannot be reached: %s; see what your own ssh says: %s true",
		t.name, t.address, remote.Excerpt(err.Error()), t.byHand())
}
