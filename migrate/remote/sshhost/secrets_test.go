package sshhost

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
)

// person answers questions, one after the other.
type person struct {
	mu      sync.Mutex
	answers []string
	asked   []string
	busy    bool
}

func (p *person) ask(_ context.Context, question string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy {
		return "", errors.New("two questions at once")
	}
	p.asked = append(p.asked, question)
	if len(p.answers) == 0 {
		return "", errors.New("nobody is there")
	}
	answer := p.answers[0]
	p.answers = p.answers[1:]
	return answer, nil
}

// lockedServer lets a key in that lies in ~/locked, behind a passphrase.
func lockedServer(t *testing.T) *server {
	t.Helper()
	private, signer := newKey(t)
	_, hostKey := newKey(t)
	s := newServerFor(t, hostKey, signer)
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(s.home, "locked"), string(pem.EncodeToMemory(block)))
	writeFile(t, filepath.Join(s.home, ".ssh", "config"), "Host *\n IdentityFile ~/locked\n")
	return s
}

// TestPassphraseIsAskedOnce, whatever the number of hosts, and again after a
// wrong answer.
func TestPassphraseIsAskedOnce(t *testing.T) {
	t.Parallel()
	s := lockedServer(t)
	p := &person{answers: []string{"wrong", "open sesame"}}
	o := s.options()
	o.Ask = p.ask
	pool := NewPool(o)
	defer pool.Close()
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			if _, err := pool.Host(t.Context(), called(s, fmt.Sprintf("cp%d", i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	file := filepath.Join(s.home, "locked")
	if want := []string{"Passphrase of " + file + ": ", "That does not open it. Passphrase of " + file + ": "}; strings.Join(p.asked, "|") != strings.Join(want, "|") {
		t.Errorf("asked %q", p.asked)
	}
}

// TestPassphraseIsNotNeeded: a host that does not take the key is no reason
// to ask for its passphrase.
func TestPassphraseIsNotNeeded(t *testing.T) {
	t.Parallel()
	s := lockedServer(t)
	_, other := newKey(t)
	s.login = other
	p := &person{}
	o := s.options()
	o.Ask = p.ask
	_, err := Dial(t.Context(), s.host(), o)
	wantSentence(t, err, ErrAuthentication, "none of the keys tried", "locked")
	if len(p.asked) != 0 {
		t.Errorf("asked %q", p.asked)
	}
}

// TestNoPassphrase: who does not know it, or is not there, gets a sentence,
// once for all hosts.
func TestNoPassphrase(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answers []string
		says    string
	}{
		"wrong":        {[]string{"a", "b", "c", "open sesame"}, "was not opened by the passphrase given (3 tries)"},
		"nobody there": {nil, "nobody is there; put it into an agent with: ssh-add"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := lockedServer(t)
			p := &person{answers: test.answers}
			o := s.options()
			o.Ask = p.ask
			pool := NewPool(o)
			defer pool.Close()
			_, err := pool.Host(t.Context(), s.host())
			wantSentence(t, err, ErrAuthentication, test.says)
			asked := len(p.asked)
			if _, err := pool.Host(t.Context(), called(s, "cp2")); err == nil || len(p.asked) != asked {
				t.Errorf("the next host: %v, %q", err, p.asked)
			}
		})
	}
}

// sudoAsks is a sudo that wants the password "swordfish" on its standard
// input, reads no further, gives up after one wrong one at the end of it, and
// lectures whoever is there for the first time.
const sudoAsks = `
if [ "$1" = -n ]; then echo "sudo: a password is required" >&2; exit 1; fi
[ "$1 $2 $3 $4 $5" = "-k -S -p  --" ] || { echo "sudo: what is $*?" >&2; exit 1; }
shift 5
[ -e "$HOME_OF_TEST/lectured" ] || echo "We trust you have received the usual lecture" >&2
while IFS= read -r password; do
	if [ "$password" = swordfish ]; then : >"$HOME_OF_TEST/lectured"; FAKE_ROOT=1 exec "$@"; fi
	echo x >>"$HOME_OF_TEST/wrong"
done
echo "sudo: 1 incorrect password attempt" >&2
exit 1`

// sudoServer has a user with that sudo.
func sudoServer(t *testing.T, sudo string) *server {
	t.Helper()
	s := newServer(t)
	s.fakeUser("1000", sudo)
	s.set(func() { s.env = append(s.env, "HOME_OF_TEST="+s.home) })
	return s
}

// TestSudoPassword runs everything a host can do through a sudo that wants a
// password, which is asked for once.
func TestSudoPassword(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := sudoServer(t, sudoAsks)
	p := &person{answers: []string{"wrong", "swordfish"}}
	var log bytes.Buffer
	o := s.options()
	o.Ask, o.Logger = p.ask, hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &log})
	h := s.dialWith(s.host(), o)
	detachHere(s, h)
	if want := "Password of ops for sudo on cp1: |sudo does not take that. Password of ops for sudo on cp1: "; strings.Join(p.asked, "|") != want {
		t.Errorf("asked %q", p.asked)
	}
	remotetest.Contract(t, func(*testing.T) remote.Host { return h })
	if strings.Contains(log.String(), "swordfish") {
		t.Error("the password is in the log")
	}
}

// TestWrongPasswordCountsOnce: sudo locks people out after some failures, so
// an answer is one attempt.
func TestWrongPasswordCountsOnce(t *testing.T) {
	t.Parallel()
	s := sudoServer(t, sudoAsks)
	p := &person{answers: []string{"a", "b", "c", "swordfish"}}
	o := s.options()
	o.Ask = p.ask
	_, err := Dial(t.Context(), s.host(), o)
	wantSentence(t, err, ErrPrivilege, "user ops on cp1", "incorrect password attempt", "NOPASSWD", "ssh.user: root")
	if strings.Contains(err.Error(), "lecture") {
		t.Errorf("a lecture is no reason: %v", err)
	}
	if n := strings.Count(read(t, filepath.Join(s.home, "wrong")), "x"); n != questions {
		t.Errorf("sudo counted %d failures of %d answers", n, questions)
	}
}

// TestSudoThatStopsAsking: sudoers may let a command pass without a password.
// Then nobody reads it, and it must not become the command's input.
func TestSudoThatStopsAsking(t *testing.T) {
	t.Parallel()
	s := sudoServer(t, sudoAsks)
	p := &person{answers: []string{"swordfish"}}
	o := s.options()
	o.Ask = p.ask
	h := s.dialWith(s.host(), o)
	writeFile(t, filepath.Join(s.home, "bin", "sudo"), "#!/bin/sh\nshift 5\nexec \"$@\"\n")
	for _, input := range []string{"", "one line\n", "two\nlines", strings.Repeat("long\n", 50_000)} {
		out, err := h.Run(t.Context(), remote.Command{Script: "cat", Stdin: []byte(input)})
		if out != input || err != nil {
			t.Errorf("%.20q became %.60q, %v", input, out, err)
		}
	}
}

// TestPasswordOfAnotherHost is tried first, and another one asked for where
// it does not fit.
func TestPasswordOfAnotherHost(t *testing.T) {
	t.Parallel()
	a, b := sudoServer(t, sudoAsks), sudoServer(t, sudoAsks)
	other := sudoServer(t, strings.ReplaceAll(sudoAsks, "swordfish", "tench"))
	p := &person{answers: []string{"swordfish", "tench"}}
	o := a.options()
	o.Ask = p.ask
	pool := NewPool(o)
	defer pool.Close()
	for i, s := range []*server{a, b, other} {
		c := called(s, fmt.Sprintf("cp%d", i+1))
		c.SSH.IdentityFile, c.SSH.KnownHostsFile = s.home+"/.ssh/id_ed25519", s.home+"/.ssh/known_hosts"
		if _, err := pool.Host(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if want := "Password of ops for sudo on cp1: |Password of ops for sudo on cp3: "; strings.Join(p.asked, "|") != want {
		t.Errorf("asked %q", p.asked)
	}
}

// TestTriesOnAHostCountTogether, those with another host's password too, and
// those of the next connect: three wrong ones lock the user out.
func TestTriesOnAHostCountTogether(t *testing.T) {
	t.Parallel()
	a, other := sudoServer(t, sudoAsks), sudoServer(t, strings.ReplaceAll(sudoAsks, "swordfish", "tench"))
	p := &person{answers: []string{"swordfish", "a", "b", "tench"}}
	o := a.options()
	o.Ask = p.ask
	pool := NewPool(o)
	defer pool.Close()
	host := func(s *server, name string) error {
		c := called(s, name)
		c.SSH.IdentityFile, c.SSH.KnownHostsFile = s.home+"/.ssh/id_ed25519", s.home+"/.ssh/known_hosts"
		_, err := pool.Host(t.Context(), c)
		return err
	}
	if err := host(a, "cp1"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantSentence(t, host(other, "cp2"), ErrPrivilege, "user ops on cp2", "incorrect password attempt")
	}
	if n := strings.Count(read(t, filepath.Join(other.home, "wrong")), "x"); n != questions || len(p.answers) != 1 {
		t.Errorf("sudo counted %d failures, asked were %q", n, p.asked)
	}
}

// TestFewSessions: an sshd that allows two sessions makes commands wait for
// each other, and none fail.
func TestFewSessions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set(func() { s.limit = 2 })
	h := s.dial()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := h.Run(t.Context(), remote.Command{Script: "sleep 0.3"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s.set(func() { s.limit = 0 })
	start := time.Now()
	if _, err := h.Run(t.Context(), remote.Command{Script: ":"}); err == nil || !strings.Contains(err.Error(), "MaxSessions") {
		t.Errorf("without any session: %v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v to give up", took)
	}
}
