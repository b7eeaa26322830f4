// Package remote says what a host is to the rest of the program: something
// that can be looked at (Reader) and, where a step may, changed (Host).
//
// The split is the read-only guarantee of `plan`: the check and verify
// functions of a step are handed Readers, so they cannot change a host by
// accident. The implementation over SSH is in package sshhost; the fast one
// for tests is in remotetest. Both pass the same contract suite.
package remote

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"unicode"
)

// Command is one command for a host, run by /bin/sh with root's rights
// (through sudo where the SSH user is not root).
//
// Script may hold no secret: it is visible in the host's process table, in
// errors and in reports. Secrets go through Stdin.
type Command struct {
	// Script is the text for `sh -c`. Build words from variables with Quote.
	Script string
	// Stdin is fed to the command; nil means no input. It is never logged.
	Stdin []byte
	// Detach is the name of a command that may run long or must never run
	// twice: lower-case letters, digits and dashes. Run starts it on the host,
	// apart from the connection, and comes back for its end as often as the
	// connection is lost. Empty: the command lives and dies with the
	// connection. Look does not detach.
	Detach string
	// Waits: it runs a program of others that does more than to look at a file, such
	// as kubeadm, systemctl or nginx. Its time is told apart from the migration's own.
	Waits bool
}

// Cmd makes a Command from words, each quoted for the shell.
func Cmd(words ...string) Command {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Quote(w)
	}
	return Command{Script: strings.Join(quoted, " ")}
}

// Program is Cmd for a program of others: kubeadm, systemctl, nginx (Command.Waits).
func Program(words ...string) Command {
	c := Cmd(words...)
	c.Waits = true
	return c
}

// Quote returns s as one word of POSIX shell.
func Quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@,+%") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// IsUser says whether a word can be a login user's name. Programs and shells take
// it for one word, and for no option: a spec, an inventory and ~/.ssh/config have
// it from anywhere, and people paste the commands that it is in.
func IsUser(s string) bool {
	return s != "" && len(s) <= 256 && s[0] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r) || strings.ContainsRune(" @:/'\"`;&<>|(){}[]$*?!#~^=,%", r)
	}) && !strings.HasSuffix(s, `\`)
}

// File is a regular file of a host: its content and what must be kept when
// it is replaced.
type File struct {
	Path  string
	Data  []byte
	Mode  fs.FileMode // permission bits only
	Owner string      // "user:group", by name; empty means root:root on write
}

// Reader looks at a host and cannot change it.
type Reader interface {
	// Name is the host's name in the spec, for messages.
	Name() string
	// ReadFile returns a regular file with its mode and owner.
	// A file that is not there is fs.ErrNotExist (errors.Is).
	ReadFile(ctx context.Context, path string) (File, error)
	// List returns the names in a folder, dot-files included, sorted.
	// A folder that is not there is fs.ErrNotExist.
	List(ctx context.Context, dir string) ([]string, error)
	// Look runs a command that must change nothing and returns its standard
	// output. A non-zero exit status is an *ExitError.
	Look(ctx context.Context, c Command) (string, error)
	// DialContext opens a TCP connection from the host: the address is
	// resolved and reached from there. It is how etcd and the API server are
	// reached with nothing but port 22 open to the operator.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Host is a Reader that can also change the host.
type Host interface {
	Reader
	// Run runs a command and returns its standard output. A non-zero exit
	// status is an *ExitError. A lost connection is ErrUnknownOutcome: the
	// command may or may not have run to its end.
	//
	// A command with a Detach name runs exactly once, however often the
	// connection is lost, and is never killed: when ctx ends it goes on, and
	// that is ErrUnknownOutcome. So is a host that restarted in the middle of
	// it, and one on which a command of that name, left by an earlier run of
	// this program, was still running: Run has waited for its end then and has
	// not begun its own, since what the caller knows is of before that.
	Run(ctx context.Context, c Command) (string, error)
	// AwaitDetached waits until no detached command runs on the host any more,
	// and forgets how those ended that nobody came back for. A program that
	// goes on where an earlier run was killed calls it before it looks.
	// It must not be called beside a Run of a detached command.
	AwaitDetached(ctx context.Context) error
	// WriteFile puts f in place atomically: written beside the target under
	// a dot-name (the kubelet ignores those in its manifests folder), synced,
	// given mode and owner, its checksum read back, then renamed. Mode 0 and
	// an empty owner keep what the target has; for a new file they mean 0600
	// and root:root. Missing parent folders are made, 0755.
	WriteFile(ctx context.Context, f File) error
	// Copy streams a file of any size from one host to this one through the
	// operator's machine, with the guarantees of WriteFile.
	Copy(ctx context.Context, from Reader, path string, to File) error
	// Rename moves a file or folder, across file systems if need be; what is
	// at the target is not overwritten (fs.ErrExist). A source that is gone
	// while the target is there is success: the move was done before.
	Rename(ctx context.Context, from, to string) error
	// Remove deletes one file; one that is not there is success.
	Remove(ctx context.Context, path string) error
}

// DetachName is an error where name is none that a Command can be detached
// under: it becomes the name of a folder on the host.
func DetachName(name string) error {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("%q is not the name of a detached command: lower-case letters, digits and dashes", name)
	}
	return nil
}

// ErrUnknownOutcome marks a command whose connection was lost before its
// exit status arrived: observe before doing anything else. What may safely be
// done twice (reading, WriteFile, Copy, Rename, Remove) is done again by the
// Host itself while the connection can be made again, and has this error only
// when that goes on failing.
var ErrUnknownOutcome error = unknownOutcome{}

// unknownOutcome has a method, so that the engine, which knows no hosts, can
// tell it from other errors.
type unknownOutcome struct{}

func (unknownOutcome) Error() string {
	return "connection lost before the command's exit status arrived"
}

// UnknownOutcome says that what was asked for may or may not have been done.
func (unknownOutcome) UnknownOutcome() bool { return true }

// ExitError is a command that ran and ended with a status other than 0.
type ExitError struct {
	Host   string
	Script string
	Status int
	Stderr string
}

func (e *ExitError) Error() string {
	msg := LastWords(e.Stderr)
	if msg == "" {
		msg = "no message"
	}
	return fmt.Sprintf("%s: `%s` ended with status %d: %s", e.Host, Brief(e.Script), e.Status, msg)
}

// Brief is a script for a sentence: all of it where it is one line, else its
// first line that says something. An error is read by somebody who is awake at
// 3 a.m.
func Brief(script string) string {
	lines := strings.Split(strings.TrimSpace(script), "\n")
	for _, line := range lines {
		if line = strings.TrimSpace(line); len(lines) > 1 && len(line) > 1 {
			return fmt.Sprintf("%s …", line)
		}
	}
	return strings.TrimSpace(script)
}

// Streamer is implemented by Readers that can stream a large file instead of
// holding it in memory; Copy uses it where it is there.
type Streamer interface {
	// Open streams the content of a regular file; the caller closes it.
	// size is in bytes.
	Open(ctx context.Context, path string) (content io.ReadCloser, size int64, err error)
}
