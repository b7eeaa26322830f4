package sshhost

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what known_hosts hashes names with; it guards no secret of ours
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// Bounds of a known_hosts file. That of a fleet of ten thousand hosts has some tens of
// MiB, of which a line at a time is held; a line has a key of some KiB at most, and the
// names of a host.
const (
	knownLimit  = 64 << 20
	longestLine = 256 << 10
)

// knownKeys is what known_hosts files say of one host, matched as ssh(1) does
// (its hostfile.c and match.c). The library beside it
// (golang.org/x/crypto/ssh/knownhosts) refuses a whole file for one line that it
// cannot read, and knows no pattern in a port and no name without one.
type knownKeys struct {
	keys        []xknownhosts.KnownKey
	authorities []xknownhosts.KnownKey
	revoked     []xknownhosts.KnownKey // whoever they are of
	// loose says that these lines have the host without its port. ssh(1) takes a
	// key from there, and does not miss one.
	loose bool
	// skipped are the lines that cannot be read.
	skipped []string
	more    int // of them, which are only counted
}

// skip remembers a line that cannot be read.
func (k *knownKeys) skip(file string, number int, why error) {
	if len(k.skipped) == 3 {
		k.more++
		return
	}
	k.skipped = append(k.skipped, fmt.Sprintf("%s line %d (%v)", file, number, why))
}

// readKnownKeys reads files for one host, "host:port".
func readKnownKeys(files []string, address string, alias bool) (*knownKeys, error) {
	name := strings.ToLower(knownhosts.Normalize(address))
	bare := ""
	if host, port, err := net.SplitHostPort(address); err == nil && port != "22" && !alias {
		bare = strings.ToLower(host)
	}
	exact, loose := &knownKeys{}, &knownKeys{loose: true}
	for _, file := range files {
		err := eachKnownLine(file, func(number int, line []byte) {
			l, err := parseKnown(line)
			if err != nil {
				exact.skip(file, number, err)
			}
			if err != nil || l.key == nil {
				return
			}
			known := xknownhosts.KnownKey{Key: l.key, Filename: file, Line: number}
			exact.add(l, known, name)
			if bare != "" {
				loose.add(l, known, bare)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if len(exact.keys)+len(exact.authorities) == 0 && len(loose.keys)+len(loose.authorities) > 0 {
		loose.skipped, loose.more = exact.skipped, exact.more
		return loose, nil
	}
	return exact, nil
}

// eachKnownLine shows the lines of a known_hosts file, numbered from 1, one at a
// time: all of them together may be large. The line is good until the next one.
func eachKnownLine(file string, show func(number int, line []byte)) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() { // it was one a moment ago
		return fmt.Errorf("%s is no file", file)
	}
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe in its place does not wait for a writer
	if err != nil {
		return err
	}
	defer f.Close()
	left := &io.LimitedReader{R: f, N: knownLimit + 1}
	lines := bufio.NewScanner(left)
	lines.Buffer(nil, longestLine)
	number := 0
	for lines.Scan() {
		number++
		show(number, lines.Bytes())
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("%s line %d is longer than %d KiB, which no line of known_hosts is", file, number+1, longestLine>>10)
	case err != nil:
		return err
	case left.N <= 0:
		return fmt.Errorf("%s has more than %d MiB", file, knownLimit>>20)
	}
	return nil
}

// knownLine is one line of a known_hosts file.
type knownLine struct {
	marker string // "", "@cert-authority" or "@revoked"
	hosts  string
	key    ssh.PublicKey // nil: the line says nothing
}

func parseKnown(line []byte) (knownLine, error) {
	words := strings.Fields(string(line))
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return knownLine{}, nil
	}
	var l knownLine
	if strings.HasPrefix(words[0], "@") {
		l.marker, words = words[0], words[1:]
		if l.marker != "@cert-authority" && l.marker != "@revoked" {
			return l, errors.New("an unknown marker")
		}
	}
	if len(words) < 3 {
		return l, errors.New("it is not: hosts, type, key")
	}
	l.hosts = words[0]
	data, err := base64.StdEncoding.DecodeString(words[2])
	if err != nil {
		return l, errors.New("its key is no base64")
	}
	key, err := ssh.ParsePublicKey(data)
	if err != nil {
		return l, errors.New("a key of a type that is not known here")
	}
	if key.Type() != words[1] {
		return l, errors.New("its key has another type than it says")
	}
	l.key = key
	return l, nil
}

// add takes a line up where it is about the host, which is a name as known_hosts
// has it.
func (k *knownKeys) add(l knownLine, known xknownhosts.KnownKey, name string) {
	switch {
	case l.marker == "@revoked":
		k.revoked = append(k.revoked, known)
	case !namesHost(l.hosts, name):
	case l.marker == "@cert-authority":
		k.authorities = append(k.authorities, known)
	default:
		k.keys = append(k.keys, known)
	}
}

// namesHost says whether the first word of a line means a name.
func namesHost(hosts, name string) bool {
	if hash, is := strings.CutPrefix(hosts, "|1|"); is {
		salt, sum, _ := strings.Cut(hash, "|")
		key, err1 := base64.StdEncoding.DecodeString(salt)
		want, err2 := base64.StdEncoding.DecodeString(sum)
		mac := hmac.New(sha1.New, key)
		mac.Write([]byte(name))
		return err1 == nil && err2 == nil && hmac.Equal(mac.Sum(nil), want)
	}
	found := false
	for pattern := range strings.SplitSeq(strings.ToLower(hosts), ",") {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if !matchesPattern(pattern, name) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// matchesPattern knows * and ?, which mean any character, dots and brackets as
// well. It goes back to the last * only, so that it takes no time to speak of.
func matchesPattern(pattern, name string) bool {
	star, from, p := -1, 0, 0
	for n := 0; n < len(name); {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			from++
			p, n = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

func has(list []xknownhosts.KnownKey, key ssh.PublicKey) *xknownhosts.KnownKey {
	i := slices.IndexFunc(list, func(k xknownhosts.KnownKey) bool { return bytes.Equal(k.Key.Marshal(), key.Marshal()) })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// check is nil for a key that is the host's. Its other errors are those of
// golang.org/x/crypto/ssh/knownhosts.
func (k *knownKeys) check(hostname string, addr net.Addr, key ssh.PublicKey) error {
	checker := ssh.CertChecker{
		IsHostAuthority: func(authority ssh.PublicKey, _ string) bool { return has(k.authorities, authority) != nil },
		IsRevoked: func(cert *ssh.Certificate) bool {
			return has(k.revoked, cert.Key) != nil || has(k.revoked, cert.SignatureKey) != nil
		},
		HostKeyFallback: func(_ string, _ net.Addr, key ssh.PublicKey) error { return k.plain(key) },
	}
	return checker.CheckHostKey(hostname, addr, key)
}

func (k *knownKeys) plain(key ssh.PublicKey) error {
	if r := has(k.revoked, key); r != nil {
		return &xknownhosts.RevokedError{Revoked: *r}
	}
	if has(k.keys, key) != nil {
		return nil
	}
	if k.loose {
		return &xknownhosts.KeyError{}
	}
	return &xknownhosts.KeyError{Want: slices.Concat(k.keys, k.authorities)}
}

// algorithms are those of the keys that are known, and whether an authority is.
func (k *knownKeys) algorithms() (algorithms []string, authority bool) {
	for _, known := range k.keys {
		switch of := known.Key.Type(); of {
		case ssh.KeyAlgoRSA:
			algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, of)
		default:
			algorithms = append(algorithms, of)
		}
	}
	// Whatever key the certificate is for, the authority says nothing of its type.
	if authority = len(k.authorities) > 0; authority {
		algorithms = append(algorithms, ssh.CertAlgoED25519v01) // as with keys, see hostKeys.algorithms
		for _, algorithm := range ssh.SupportedAlgorithms().HostKeys {
			if strings.Contains(algorithm, "-cert-v01@") && algorithm != ssh.CertAlgoED25519v01 {
				algorithms = append(algorithms, algorithm)
			}
		}
	}
	return algorithms, authority
}

// hostKeyFiles are those files with host keys that are there. What is no file,
// as /dev/null, keeps no keys.
func (t target) hostKeyFiles() []string {
	var out []string
	for _, file := range append([]string{t.knownHosts}, t.alsoKnown...) {
		info, err := os.Stat(file)
		if !errors.Is(err, fs.ErrNotExist) && (err != nil || info.Mode().IsRegular()) && !slices.Contains(out, file) {
			out = append(out, file)
		}
	}
	return out
}

// keepsNoKeys says that the first file is there and is none.
func (t target) keepsNoKeys() bool {
	info, err := os.Stat(t.knownHosts)
	return err == nil && !info.Mode().IsRegular()
}
