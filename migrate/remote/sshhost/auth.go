package sshhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"hamigrate/migrate/remote"
)

// keyring is the keys to log in with, best first.
type keyring struct {
	signers []ssh.Signer
	tried   []string // what each signer is, for messages
	agent   net.Conn // nil without an agent; must stay open while signing
	notes   []string // why other keys could not be used
	ignored []string // of these, keys that are there and would be used
	secrets *secrets
	wanted  atomic.Pointer[string] // the locked file that the host wants
	takes   []string               // the ways to log in that the host has said last
	partly  bool                   // a key was taken, and was not enough
}

// openKeys collects the keys for t: named identity files first and then what
// the agent holds, unless IdentitiesOnly forbids; else the agent's keys first
// and then the default files. The order matters because sshd gives up after
// MaxAuthTries (6) keys.
func openKeys(ctx context.Context, t target, secrets *secrets) (*keyring, error) {
	k := &keyring{secrets: secrets}
	held := k.openAgent(ctx, t)
	if ctx.Err() != nil {
		k.Close()
		return nil, context.Cause(ctx)
	}
	if !t.named && !t.onlyNamed {
		k.addAgent(held)
	}
	for _, file := range t.identities {
		if err := k.addFile(file, held, t.explicit); err != nil {
			k.Close()
			return nil, err
		}
	}
	if t.named && !t.onlyNamed {
		k.addAgent(held)
	}
	if len(k.signers) == 0 && k.wanted.Load() == nil {
		k.Close()
		return nil, mistakef(ErrAuthentication, nil,
			"no key to log in to %s (%s): %s; name one as ssh.identityFile, or put one into an agent with: ssh-add",
			t.name, t.address, strings.Join(k.notes, ", "))
	}
	return k, nil
}

// Close lets go of the agent.
func (k *keyring) Close() {
	if k.agent != nil {
		k.agent.Close()
	}
}

// openAgent returns the keys that the agent holds; no agent is only a note,
// and so is one that does not answer.
func (k *keyring) openAgent(ctx context.Context, t target) []ssh.Signer {
	if t.agent == "" {
		k.notes = append(k.notes, "no agent (SSH_AUTH_SOCK is empty)")
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.timeout, fmt.Errorf("%s did not answer within %v", t.agent, t.timeout))
	defer cancel()
	held, err := k.askAgent(ctx, t.agent)
	switch {
	case err != nil && ctx.Err() != nil:
		k.notes = append(k.notes, fmt.Sprintf("no agent (%v)", context.Cause(ctx)))
	case err != nil:
		k.notes = append(k.notes, fmt.Sprintf("no agent (%v)", err))
	case len(held) == 0:
		k.notes = append(k.notes, "the agent holds no key")
	}
	return held
}

func (k *keyring) askAgent(ctx context.Context, socket string) ([]ssh.Signer, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	k.agent = conn
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	return agent.NewClient(conn).Signers()
}

func (k *keyring) addAgent(held []ssh.Signer) {
	for _, s := range held {
		k.add(s, "agent "+ssh.FingerprintSHA256(s.PublicKey()))
	}
}

// add appends a key that is not there yet.
func (k *keyring) add(s ssh.Signer, what string) {
	same := func(have ssh.Signer) bool {
		return bytes.Equal(have.PublicKey().Marshal(), s.PublicKey().Marshal())
	}
	if !slices.ContainsFunc(k.signers, same) {
		k.signers = append(k.signers, s)
		k.tried = append(k.tried, what)
	}
}

// addFile adds the key of an identity file. Where the file cannot be used as
// it is (a passphrase, a hardware key, only the public half) the agent signs
// for it, if it holds the key. Files not named by the user may be missing.
func (k *keyring) addFile(file string, held []ssh.Signer, explicit bool) error {
	data, err := readSmall("identity file", file)
	if err != nil {
		if explicit {
			return mistakef(ErrAuthentication, err, "ssh.identityFile: %v", err)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			k.notes = append(k.notes, err.Error())
		} else {
			k.notes = append(k.notes, "no "+file)
		}
		return nil
	}
	signer, parseErr := ssh.ParsePrivateKey(data)
	public := publicHalf(file, data, parseErr)
	if open := tooOpen(file, data); open != nil {
		signer, parseErr = nil, open
	}
	if parseErr == nil {
		k.addWithCertificate(signer, file, file)
		return nil
	}
	for _, s := range held {
		if public != nil && bytes.Equal(s.PublicKey().Marshal(), public.Marshal()) {
			k.addWithCertificate(s, file, file+" (agent)")
			return nil
		}
	}
	problem := fmt.Sprintf("%s cannot be used: %v", file, parseErr)
	if errors.Is(parseErr, errTooOpen) {
		problem = parseErr.Error()
		k.ignored = append(k.ignored, problem)
	}
	if errors.As(parseErr, new(*ssh.PassphraseMissingError)) {
		if k.addLocked(file, public) {
			return nil
		}
		problem = fmt.Sprintf("%s is protected by a passphrase and no agent holds it (%s)", file, remote.Cmd("ssh-add", file).Script)
	}
	if explicit {
		return mistakef(ErrAuthentication, parseErr, "ssh.identityFile: %s", problem)
	}
	k.notes = append(k.notes, problem)
	return nil
}

// addLocked adds a key that has a passphrase: opened, where it was asked for
// before; else as one to ask for when a host takes its public half. It says
// whether it could. A key without a public half that can be read (the old PEM
// form, without a .pub beside it) is asked for at once.
func (k *keyring) addLocked(file string, public ssh.PublicKey) bool {
	if k.secrets == nil || k.secrets.ask == nil {
		return false
	}
	switch opened := k.secrets.key(file); {
	case opened != nil:
		k.addWithCertificate(opened, file, file)
	case k.secrets.hasGivenUp(file) != nil:
		return false
	case public == nil:
		k.wanted.Store(&file)
	default:
		k.addWithCertificate(lockedKey{file, public, func(file string) { k.wanted.Store(&file) }}, file, file)
	}
	return true
}

// addWithCertificate adds a key, and before it the certificate of its owner
// that lies beside its file, as ssh(1) does.
func (k *keyring) addWithCertificate(signer ssh.Signer, file, what string) {
	if data, err := readSmall("certificate", file+"-cert.pub"); err == nil {
		public, _, _, _, err := ssh.ParseAuthorizedKey(data)
		if cert, ok := public.(*ssh.Certificate); ok && err == nil {
			if certified, err := ssh.NewCertSigner(cert, signer); err == nil {
				k.add(certified, file+"-cert.pub")
			}
		}
	}
	k.add(signer, what)
}

// publicHalf finds the public key that belongs to a private key file which
// could not be parsed.
func publicHalf(file string, data []byte, parseErr error) ssh.PublicKey {
	if locked := new(ssh.PassphraseMissingError); errors.As(parseErr, &locked) && locked.PublicKey != nil {
		return locked.PublicKey
	}
	if key, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
		return key
	}
	beside, err := readSmall("public key", file+".pub")
	if err != nil {
		return nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(beside)
	if err != nil {
		return nil
	}
	return key
}

// errTooOpen is a private key that others on this machine may read.
var errTooOpen = errors.New("it is open to others")

// tooOpen is an error for a private key that ssh(1) would not use either: one of
// our own that others may read (its authfile.c: sshkey_perm_ok).
func tooOpen(file string, data []byte) error {
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm()&0o077 == 0 || !bytes.Contains(data, []byte("PRIVATE KEY")) {
		return nil
	}
	if of, known := info.Sys().(*syscall.Stat_t); known && int(of.Uid) != os.Getuid() {
		return nil // we cannot close it, and it is not ours to judge
	}
	return mistakef(errTooOpen, nil, "%s is a private key that others may read (mode %04o): it is not used, as ssh does not use it; close it with: chmod 600 %s", file, info.Mode().Perm(), remote.Quote(file))
}

// hears is told which ways to log in the host takes.
func (k *keyring) hears(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	k.takes = c.AllowedMethods
	k.partly = k.partly || slices.Contains(c.PartialSuccessMethods, "publickey")
	return nil, nil // the next of ours
}

// refused is the sentence for a host that took none of the keys.
func (k *keyring) refused(t target, cause error) error {
	look := fmt.Sprintf("see on %s what holds: `sshd -T -C %s | grep -i authentication`", t.name, remote.Quote("user="+t.user))
	switch takes := remote.Excerpt(strings.Join(k.takes, ", ")); {
	case k.partly:
		return mistakef(ErrAuthentication, cause,
			"%s (%s) takes the key of user %s and then wants %s as well, and this program logs in with keys alone; let `AuthenticationMethods publickey` hold there for it, or log in through another user; %s",
			t.name, t.address, t.user, takes, look)
	case takes != "" && !slices.Contains(k.takes, "publickey"):
		return mistakef(ErrAuthentication, cause,
			"%s (%s) takes no keys from user %s, only %s, and this program logs in with keys alone; set `PubkeyAuthentication yes` in /etc/ssh/sshd_config there, then: systemctl reload ssh || systemctl reload sshd; %s; then give it your key, for which the password is asked: %s",
			t.name, t.address, t.user, takes, look, t.copyID())
	}
	ignored := ""
	for _, why := range k.ignored {
		ignored += "; " + why
	}
	return mistakef(ErrAuthentication, cause,
		"%s (%s) lets user %s in with none of the keys tried (%s)%s: %v; give it one of them with: %s",
		t.name, t.address, t.user, strings.Join(k.tried, ", "), ignored, remote.Excerpt(cause.Error()), t.copyID())
}
