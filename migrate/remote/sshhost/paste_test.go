package sshhost

import (
	"encoding/pem"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"hamigrate/migrate/cluster"
)

// TestCommandsToPaste: whatever stands in a spec or an inventory, each word of a
// command that is proposed is one word for the shell, and nothing in it is run.
func TestCommandsToPaste(t *testing.T) {
	t.Parallel()
	const name = `/x y/$(id)'";`
	_, host := newKey(t)
	bastion := &target{user: "u$(id)", address: "198.51.100.1:2200"}
	to := target{user: "o;id", address: "192.0.2.1:2222", identities: []string{name}, named: true, knownHosts: "/a b$(id)", alias: "a`id`", via: bastion}
	direct := to
	direct.via, direct.alias = nil, ""
	for _, c := range []struct {
		line string
		want []string
	}{
		{to.byHand(), []string{"ssh", "-p", "2222", "-i", name, "-o", "HostKeyAlias=a`id`", "-o", `UserKnownHostsFile="/a b$(id)"`, "-J", "u$(id)@198.51.100.1:2200", "o;id@192.0.2.1"}},
		{to.copyID(), []string{"ssh-copy-id", "-i", name, "-p", "2222", "-o", "ProxyJump=u$(id)@198.51.100.1:2200", "o;id@192.0.2.1"}},
		{direct.trustCommand(host.PublicKey()), []string{"ssh-keyscan", "-t", "ed25519", "-p", "2222", "192.0.2.1", ">>", "/a b$(id)"}},
		{forget(direct, []xknownhosts.KnownKey{{Filename: name}}), []string{"ssh-keygen", "-R", "[192.0.2.1]:2222", "-f", name}},
	} {
		line := strings.Replace(c.line, " >> ", " '>>' ", 1) // of trustCommand, which is ours
		out, err := exec.Command("/bin/sh", "-c", `printf '%s\n' `+line).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
		if diff := cmp.Diff(c.want, strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

// TestSentencesQuoteTheirCommands: a key's file of any name is one word of what is
// proposed for it.
func TestSentencesQuoteTheirCommands(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	file := filepath.Join(s.home, "a b;$(id)")
	private, _ := newKey(t)
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, string(pem.EncodeToMemory(block)))
	h := s.host()
	h.SSH.IdentityFile = file
	_, err = Dial(t.Context(), h, s.options())
	wantSentence(t, err, ErrAuthentication, "(ssh-add '"+file+"')")
}

// TestUserOfTheConfig: what is no user's name is none in ~/.ssh/config either.
func TestUserOfTheConfig(t *testing.T) {
	for user, good := range map[string]bool{"ops": true, "ops@corp.example": true, `CORP\ops`: true, "o;id": false, "$(id)": false, "'a": false} {
		got, err := resolved(t, cluster.Host{Name: "cp1", Address: "192.0.2.1"}, "User "+user+"\n", nil)
		if good != (err == nil) || good && got.user != user {
			t.Errorf("%s: user %q, %v", user, got.user, err)
		}
		if !good && !strings.Contains(err.Error(), "is no user name for cp1; write another one as User in ") {
			t.Errorf("%s: %v", user, err)
		}
	}
	_, err := resolved(t, cluster.Host{Name: "cp1", Address: "192.0.2.1"}, "ProxyJump x;y@bastion\n", nil)
	if err == nil || !strings.Contains(err.Error(), `"x;y" is no user name for bastion`) {
		t.Errorf("a bastion: %v", err)
	}
}
