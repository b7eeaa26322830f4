package sshhost

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate/cluster"
)

// decided is what a test wants of a target.
type decided struct {
	user, address, known string
	identities           []string
	via                  string
}

// resolved decides on a host with a ~/.ssh/config; other files may lie beside
// it.
func resolved(t *testing.T, h cluster.Host, config string, files map[string]string) (target, error) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("SSH_AUTH_SOCK", "")
	writeFile(t, filepath.Join(home, ".ssh", "config"), config)
	for name, text := range files {
		writeFile(t, filepath.Join(home, ".ssh", name), text)
	}
	c, err := readUserConfig(home)
	if err != nil {
		return target{}, err
	}
	return resolve(h, Options{Home: home}, c)
}

// TestUserConfig: every keyword that is honoured, by the host's name and by
// its address, and the spec above all.
//
// Long: a row for each keyword and each way to combine them.
func TestUserConfig(t *testing.T) {
	cp1 := cluster.Host{Name: "cp1", Address: "10.0.0.11"}
	for name, test := range map[string]struct {
		config string
		files  map[string]string
		host   cluster.Host
		want   decided
	}{
		"nothing": {"", nil, cp1, decided{user: "root", address: "10.0.0.11:22"}},
		"by name": {"Host cp1\n HostName cp1.example.net\n User ops\n Port 2222\n IdentityFile ~/.ssh/work\n", nil, cp1,
			decided{user: "ops", address: "cp1.example.net:2222", identities: []string{"work"}}},
		"by address": {"Host 10.0.0.*\n User ops\n", nil, cp1, decided{user: "ops", address: "10.0.0.11:22"}},
		"the first value wins, whichever name it is for": {"Host 10.0.0.*\n User ops\nHost cp1\n User late\n Port 23\nHost *\n User all\n", nil, cp1,
			decided{user: "ops", address: "10.0.0.11:23"}},
		"case and equals signs": {"host=cp1\n\tUSER = ops\n port=23 # a comment\n", nil, cp1, decided{user: "ops", address: "10.0.0.11:23"}},
		"excluded":              {"Host * !cp1\n User ops\n", nil, cp1, decided{user: "root", address: "10.0.0.11:22"}},
		"the spec wins": {"Host cp1\n HostName elsewhere\n User late\n Port 2222\n IdentityFile ~/late\n UserKnownHostsFile ~/late\n", nil,
			cluster.Host{Name: "cp1", Address: "10.0.0.11", SSH: cluster.SSH{User: "ops", Port: 23, IdentityFile: "~/.ssh/mine", KnownHostsFile: "~/.ssh/ours", Address: "cp1.admin"}},
			decided{user: "ops", address: "cp1.admin:23", identities: []string{"mine"}, known: "ours"}},
		"an ssh address that is a name of the config": {"Host admin-cp1\n HostName 192.0.2.5\n User ops\nHost cp1\n HostName elsewhere\n", nil,
			cluster.Host{Name: "cp1", Address: "10.0.0.11", SSH: cluster.SSH{Address: "admin-cp1"}}, decided{user: "ops", address: "192.0.2.5:22"}},
		"files": {"Host cp1\n UserKnownHostsFile ~/.ssh/%h.hosts ~/.ssh/more\n IdentityFile \"%d/.ssh/%r@%n\"\n IdentityFile ~/.ssh/two\n User ops\n", nil, cp1,
			decided{user: "ops", address: "10.0.0.11:22", identities: []string{"ops@cp1", "two"}, known: "10.0.0.11.hosts"}},
		"host name made of the name": {"Host cp?\n HostName %h.example.net\n", nil, cp1, decided{user: "root", address: "cp1.example.net:22"}},
		"a jump":                     {"Host cp1\n ProxyJump bastion\nHost bastion\n HostName 192.0.2.9\n User jump\n Port 2200\n", nil, cp1, decided{user: "root", address: "10.0.0.11:22", via: "jump@192.0.2.9:2200"}},
		"a chain":                    {"Host 10.*\n ProxyJump a@one:23,ssh://b@two\n", nil, cp1, decided{user: "root", address: "10.0.0.11:22", via: "b@two:22 via a@one:23"}},
		"a bastion behind a bastion": {"Host cp1\n ProxyJump b@inner\nHost inner\n ProxyJump a@outer\n", nil, cp1, decided{user: "root", address: "10.0.0.11:22", via: "b@inner:22 via a@outer:22"}},
		"no jump":                    {"Host cp1\n ProxyJump none\nHost *\n ProxyJump bastion\n", nil, cp1, decided{user: "root", address: "10.0.0.11:22"}},
		"included in its place": {"Include conf.d/*\nHost cp1\n User late\n Port 23\n", map[string]string{"conf.d/a": "Host cp1\n User ops\nHost other\n Port 24\n"}, cp1,
			decided{user: "ops", address: "10.0.0.11:23"}},
		"after an include, lines are for all again": {"Include one\nUser ops\n", map[string]string{"one": "Host other\n User other\n"}, cp1, decided{user: "ops", address: "10.0.0.11:22"}},
		"an include in another host's block":        {"Host other\n Include one\n", map[string]string{"one": "User other\n"}, cp1, decided{user: "root", address: "10.0.0.11:22"}},
		"an include in its block":                   {"Host 10.0.0.11\n Include one\n", map[string]string{"one": "User ops\n"}, cp1, decided{user: "ops", address: "10.0.0.11:22"}},
		"nothing included":                          {"Include absent/*\nUser ops\n", nil, cp1, decided{user: "ops", address: "10.0.0.11:22"}},
		"match host":                                {"Match host cp1\n User ops\nMatch all\n Port 23\n", nil, cp1, decided{user: "ops", address: "10.0.0.11:23"}},
		"match a list of hosts":                     {"Match host cp2,cp1\n User ops\nMatch host \"cp1,cp2\"\n Port 23\n", nil, cp1, decided{user: "ops", address: "10.0.0.11:23"}},
		"match all but one":                         {"Match host *,!cp1\n User no\n", nil, cp1, decided{user: "root", address: "10.0.0.11:22"}},
		"match all but another":                     {"Match host *,!cp2\n User ops\n", nil, cp1, decided{user: "ops", address: "10.0.0.11:22"}},
		"match more than a host":                    {"Match host cp1 exec \"false\"\n User no\nMatch host cp1 user git\n Port 24\n", nil, cp1, decided{user: "root", address: "10.0.0.11:22"}},
		"a match in an included file": {"Host cp1\n Include one\n Port 23\n", map[string]string{"one": "Match host cp2,cp1\n User ops\nMatch exec true\n User no\nHost cp2\n Port 24\n"}, cp1,
			decided{user: "ops", address: "10.0.0.11:23"}},
		"no command, and so no jump": {"Host cp1\n ProxyCommand none\n ProxyJump bastion\n", nil, cp1, decided{user: "root", address: "10.0.0.11:22"}},
		"a jump before a command":    {"Host cp1\n ProxyJump a@one\n ProxyCommand nc %h %p\n", nil, cp1, decided{user: "root", address: "10.0.0.11:22", via: "a@one:22"}},
		"files named after the spec's user and port": {"Host *\n User late\n Port 24\n IdentityFile ~/.ssh/%r-%p\n", nil,
			cluster.Host{Name: "cp1", Address: "10.0.0.11", SSH: cluster.SSH{User: "ops", Port: 23}}, decided{user: "ops", address: "10.0.0.11:23", identities: []string{"ops-23"}}},
		"tabs and quotes between hosts":  {"Host\tcp2\t\"cp1\"\n User ops\n", nil, cp1, decided{user: "ops", address: "10.0.0.11:22"}},
		"a match that is not decided on": {"Match exec \"true\" host cp1\n User no\n Include one\nHost cp1\n Port 23\n", map[string]string{"one": "User no\n"}, cp1, decided{user: "root", address: "10.0.0.11:23"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := resolved(t, test.host, test.config, test.files)
			if err != nil {
				t.Fatal(err)
			}
			home := filepath.Dir(filepath.Dir(got.knownHosts))
			want := test.want
			if want.identities == nil {
				want.identities = []string{"id_ed25519", "id_ecdsa", "id_rsa"}
			}
			for i, file := range want.identities {
				want.identities[i] = filepath.Join(home, ".ssh", file)
			}
			want.known = filepath.Join(home, ".ssh", or(want.known, "known_hosts"))
			is := decided{got.user, got.address, got.knownHosts, got.identities, ""}
			if got.via != nil {
				is.via = got.via.key()
			}
			if diff := cmp.Diff(want, is, cmp.AllowUnexported(decided{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestUserConfigRefused: what would lead astray is refused with a sentence.
func TestUserConfigRefused(t *testing.T) {
	for name, test := range map[string]struct {
		config string
		says   []string
	}{
		"a command as the way":    {"Host cp1\n ProxyCommand nc %h %p\n", []string{"a ProxyCommand, which this program does not run", "write ProxyJump"}},
		"a command before a jump": {"Host cp1\n ProxyCommand nc %h %p\n ProxyJump bastion\n", []string{"a ProxyCommand, which this program does not run"}},
		"a port that is none":     {"Host cp1\n Port ssh\n", []string{`gives cp1 the port "ssh"`, "1 to 65535"}},
		"a jump that is none":     {"Host cp1\n ProxyJump ops@\n", []string{"the way to cp1", `"ops@"`, "[user@]host[:port]"}},
		"a jump round in circle":  {"Host *\n ProxyJump bastion\n", []string{"the way to cp1", "round in circles", "Host bastion", "ProxyJump none"}},
		"an endless include":      {"Include config\n", []string{"nests deeper"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := resolved(t, cluster.Host{Name: "cp1", Address: "10.0.0.11"}, test.config, nil)
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range test.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

// TestSkippedIsTold once, whatever the number of hosts.
func TestSkippedIsTold(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	config := filepath.Join(home, ".ssh", "config")
	writeFile(t, config, "Include one one\nMatch host cp1 exec \"false\"\n User no\n")
	writeFile(t, filepath.Join(home, ".ssh", "one"), "Match user git\n User no\n")
	var told []string
	all := newShared(Options{Home: home, Tell: func(s string) { told = append(told, s) }})
	for _, name := range []string{"cp1", "cp2"} {
		h, err := newHost(cluster.Host{Name: name, Address: "10.0.0.11"}, all)
		if err != nil || h.target.user != "root" {
			t.Errorf("%+v, %v", h, err)
		}
	}
	want := filepath.Join(home, ".ssh", "one") + " line 1: Match user git, " + config + ` line 2: Match host cp1 exec "false";`
	if len(told) != 1 || !strings.Contains(told[0], want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// TestConfigIsFollowed dials a host of which only ~/.ssh/config knows where
// it is, and stops where that is another host than the spec means.
func TestConfigIsFollowed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.host()
	writeFile(t, filepath.Join(s.home, ".ssh", "config"), "Host cp1\n HostName 127.0.0.1\n User ops\n")
	c.SSH.Address, c.SSH.User = "", ""
	_, err := Dial(t.Context(), c, s.options())
	wantSentence(t, err, ErrOtherHost, "~/.ssh/config leads to 127.0.0.1:", "192.0.2.1", "nothing was changed", "ssh: {address: 127.0.0.1}")

	c.Address = "127.0.0.1"
	if h := s.dialWith(c, s.options()); h.target.user != "ops" {
		t.Errorf("user %s", h.target.user)
	}
}
