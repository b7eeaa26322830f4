package sshhost

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"hamigrate/internal/within"
	"hamigrate/migrate/cluster"
)

// FuzzUserConfig: a ~/.ssh/config is refused with its name, or decides on a
// host in a way that can be dialled; and what stands first wins.
func FuzzUserConfig(f *testing.F) {
	home := f.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".ssh", "config.d"), 0o700); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config.d", "one"), []byte("Host cp1\n Port 2222\nInclude config.d/one\n"), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Setenv("SSH_AUTH_SOCK", "")
	f.Add("Host cp1 192.0.2.11\n HostName cp1.example.net\n User ops\n Port 2222\n IdentityFile ~/.ssh/%h-%r\n")
	f.Add("Match host cp1,cp2 user ops\n Port 1\nMatch all\n ProxyJump ops@192.0.2.9:22,b\nHost b\n ProxyJump cp1\n")
	f.Add("Host \"cp 1\" !cp1\n Port x\nhost=*\n\tUSER = \"ops\" # a comment\n")
	f.Add("User ops\r\nHost *\r\n UserKnownHostsFile a b none\r\n IdentityAgent $SSH_AUTH_SOCK\r\n")
	f.Add("migrateincluded 7\nHost *\n MigrateIncluded 7\n\"migrateincluded\" 7\n migrateincluded=7\n")
	f.Add("Host *\n Include config.d/*\n")
	f.Add("Host " + strings.Repeat("*a", 200) + "\n Port 1\n")
	f.Add("Match host " + strings.Repeat("a,", 1_000) + "\n Port 1\n")
	f.Add(strings.Repeat("Host *\n ProxyJump a\n", 400))
	f.Fuzz(func(t *testing.T, text string) {
		if lower := strings.ToLower(text); strings.Count(lower, "include") > strings.Count(lower, "include config.d/")+strings.Count(lower, "included") {
			t.Skip("it would read files of this machine")
		}
		decide := func(text string) (target, error) {
			c := &userConfig{path: filepath.Join(home, ".ssh", "config"), home: home}
			var err error
			if c.file, err = c.parse(c.path, []byte(text), 0); err != nil {
				return target{}, err
			}
			return resolve(cluster.Host{Name: "cp1", Address: "192.0.2.11"}, Options{Home: home, GlobalKnownHosts: filepath.Join(home, "none")}, c)
		}
		if len(text) > 10_000 {
			t.Skip("it is read three times, which is not the matter")
		}
		within.Bounds(t, func() {
			got, err := decide(text)
			if err != nil {
				return
			}
			for hop := &got; hop != nil; hop = hop.via {
				_, port, err := net.SplitHostPort(hop.address)
				if number, bad := net.LookupPort("tcp", port); err != nil || bad != nil || number < 1 || hop.user == "" || len(hop.identities) == 0 || hop.knownHosts == "" {
					t.Errorf("it leads to %+v", *hop)
				}
			}
			if again, err := decide(text + "\n# a comment\nHost nobody\n User nobody\n"); err != nil || !reflect.DeepEqual(got, again) {
				t.Errorf("what is said of another host changes it: %v\n%+v\n%+v", err, got, again)
			}
			if first, err := decide("Host cp1\n User first\n Port 7\n" + text); err == nil && (first.user != "first" || !strings.HasSuffix(first.address, ":7")) {
				t.Errorf("what stands first does not win: %+v", first)
			}
		})
	})
}

// FuzzKnownHosts: no text makes a key trusted that is not in it, and accepting a
// key adds a line and takes nothing.
func FuzzKnownHosts(f *testing.F) {
	_, private, err := ed25519.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 64)))
	if err != nil {
		f.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		f.Fatal(err)
	}
	key := signer.PublicKey()
	line := knownhosts.Line([]string{"192.0.2.11"}, key)
	other := strings.Replace(line, "AAAAIA", "AAAAIB", 1) // another key
	for _, text := range []string{"", other, "@revoked " + line, "@cert-authority *.example " + other, "|1|AAAA|BBBB ssh-ed25519 AAAA", "192.0.2.11 ssh-rsa AAAA", "[192.0.2.11]:22,* " + strings.SplitN(other, " ", 2)[1], "*,!192.0.2.11 " + strings.SplitN(other, " ", 2)[1], "#", "a b c d", "\x00", "192.0.2.11 1024 35 1234"} {
		f.Add(text)
		f.Add(text + "\n# the end\n")
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, line[strings.LastIndex(line, " ")+1:]) {
			t.Skip("it holds the key")
		}
		file := filepath.Join(dir, "known_hosts")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		to := target{name: "cp1", address: "192.0.2.11:22", user: "root", knownHosts: file, usualKnown: file}
		addr := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 11), Port: 22}
		within.Bounds(t, func() {
			if keys, err := openHostKeys(to, &trust{}); err == nil {
				if err := keys.check(to.address, addr, key); err == nil {
					t.Error("a key that nobody knows is trusted")
				}
				if len(keys.algorithms()) == 0 {
					t.Error("no algorithm is offered")
				}
			}
			accepting := &trust{acceptNew: true}
			keys, err := openHostKeys(to, accepting)
			if err != nil {
				return
			}
			err = keys.check(to.address, addr, key)
			now, readErr := os.ReadFile(file)
			if readErr != nil || !bytes.HasPrefix(now, []byte(text)) {
				t.Errorf("something of known_hosts is lost: %v\n%q", readErr, now)
			}
			if err != nil && string(now) != text {
				t.Errorf("it is refused (%v), and the file has more", err)
			}
			if err == nil && len(accepting.list()) != 1 {
				t.Error("a key is trusted that was not accepted")
			}
		})
	})
}

// FuzzAnswer: what our scripts print is read whole, or refused.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("file\n644\n0\n0\nroot\nroot\n3\nabc"))
	f.Add([]byte("file\n100644\n1000\n1000\nUNKNOWN\nUNKNOWN\n0\n"))
	f.Add([]byte("absent\n"))
	f.Add([]byte("absent"))
	f.Add([]byte("file\n"))
	f.Add([]byte("file\n7777777777777777777777\n0\n0\n\n\n-1\nx"))
	f.Fuzz(func(t *testing.T, out []byte) {
		within.Bounds(t, func() {
			h, data, err := parseHeader(out)
			if err != nil {
				if len(err.Error()) > 500 {
					t.Errorf("the error quotes all of it: %d bytes", len(err.Error()))
				}
				return
			}
			if h.mode&^0o777 != 0 || h.size < 0 || strings.Count(h.owner, ":") != 1 || strings.HasPrefix(h.owner, ":") || strings.HasSuffix(h.owner, ":") {
				t.Errorf("header %+v with %d bytes", h, len(data))
			}
			owner := strings.Split(h.owner, ":")
			again, same, err := parseHeader(append(fmt.Appendf(nil, "file\n%o\n0\n0\n%s\n%s\n%d\n", h.mode, owner[0], owner[1], h.size), data...))
			if err != nil || again != h || !bytes.Equal(data, same) {
				t.Errorf("written again it is %+v, %v", again, err)
			}
		})
	})
}

// FuzzNames: a folder's names, each ended by NUL, are those that are there.
func FuzzNames(f *testing.F) {
	f.Add([]byte("folder\na\x00.b\x00a b\n\x00"))
	f.Add([]byte("folder\n"))
	f.Add([]byte("folder\nthe line was cut"))
	f.Add([]byte("folder\n\x00\x00../x\x00"))
	f.Fuzz(func(t *testing.T, out []byte) {
		within.Bounds(t, func() {
			names, err := parseNames(out)
			if err != nil {
				return
			}
			if slices.ContainsFunc(names, func(n string) bool { return n == "" || strings.ContainsAny(n, "/\x00") }) {
				t.Errorf("names %q", names)
			}
			if text := strings.Join(names, ""); len(text)+len(names) != len(out)-len("folder\n") {
				t.Errorf("something is lost: %q of %q", names, out)
			}
		})
	})
}
