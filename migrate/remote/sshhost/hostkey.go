package sshhost

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"

	"hamigrate/migrate/remote"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// hostKeys checks one host's key against its known_hosts files.
type hostKeys struct {
	target target
	trust  *trust
	known  *knownKeys
}

// openHostKeys reads the known_hosts files again for each connection, so that
// a key added in the meantime counts.
func openHostKeys(t target, trust *trust) (*hostKeys, error) {
	if t.keepsNoKeys() && len(t.hostKeyFiles()) == 0 {
		return nil, t.noFile(fs.ErrInvalid)
	}
	files := t.hostKeyFiles()
	if len(files) == 0 && !trust.acceptNew {
		return nil, mistakef(ErrUnknownHostKey, fs.ErrNotExist,
			"no host key of %s can be checked: %s is not there; connect once by hand, compare the fingerprint it shows with the host's own, and the file is made: %s",
			t.name, t.knownHosts, t.byHand())
	}
	known, err := readKnownKeys(files, t.known(), t.alias != "")
	if err != nil {
		return nil, fmt.Errorf("reading known_hosts: %w", err)
	}
	return &hostKeys{target: t, trust: trust, known: known}, nil
}

// noFile is the sentence for a UserKnownHostsFile that keeps nothing. ssh(1) goes
// on there with StrictHostKeyChecking off; we never compare with nothing.
func (t target) noFile(cause error) error {
	return mistakef(ErrUnknownHostKey, cause,
		"the host key of %s (%s) cannot be checked: %s is no file, so nothing is known by it and nothing can be added; name a file in the spec, ssh: {knownHostsFile: ~/.ssh/known_hosts}, or as UserKnownHostsFile in ~/.ssh/config",
		t.name, t.address, t.knownHosts)
}

// algorithms returns the host key algorithms to offer, those known_hosts has
// a key for first, as ssh(1) does: else the host may well show its key of
// another type, which nobody knows. Certificates are offered only where
// known_hosts names an authority for the host.
func (k *hostKeys) algorithms() []string {
	order, authority := k.known.algorithms()
	rest := append([]string{ssh.KeyAlgoED25519}, ssh.SupportedAlgorithms().HostKeys...) // what ssh-keyscan users know best
	for _, algo := range rest {
		if slices.Contains(order, algo) || strings.Contains(algo, "-cert-v01@") && !authority {
			continue
		}
		order = append(order, algo)
	}
	return order
}

// check is the ssh.HostKeyCallback.
func (k *hostKeys) check(hostname string, addr net.Addr, key ssh.PublicKey) error {
	err := k.known.check(hostname, addr, key)
	t := k.target
	var mismatch *xknownhosts.KeyError
	var revoked *xknownhosts.RevokedError
	if errors.As(err, &mismatch) && len(mismatch.Want) == 0 && k.trust.acceptNew && !t.keepsNoKeys() {
		err = k.trust.accept(t, key, addr)
	}
	if err == nil {
		k.trust.note(t, key)
		return nil
	}
	switch {
	case errors.As(err, &mismatch) && len(mismatch.Want) == 0 && t.keepsNoKeys():
		return t.noFile(err)
	case errors.As(err, &mismatch) && len(mismatch.Want) == 0:
		return mistakef(ErrUnknownHostKey, err,
			"%s does not know the %s host key of %s (%s): %s%s. On the host's own console run `ssh-keygen -lf %s`; if it prints the same fingerprint, trust it with: %s (or trust all hosts that are seen for the first time: --accept-new-host-keys)",
			t.knownHosts, key.Type(), t.name, t.address, ssh.FingerprintSHA256(key), k.leftOut(), keyFile(key), t.trustCommand(key))
	case errors.As(err, &mismatch):
		return mistakef(ErrHostKeyChanged, err,
			"STOPPED: the host key of %s (%s) is not the one in known_hosts: it shows %s %s, but %s. Either the host was reinstalled or somebody intercepts the connection; nothing was sent. Find out on the host's own console with `ssh-keygen -lf %s`; only if it prints the fingerprint shown, remove the old key with: %s",
			t.name, t.address, key.Type(), ssh.FingerprintSHA256(key), describe(mismatch.Want),
			keyFile(key), forget(t, mismatch.Want))
	case errors.As(err, &revoked):
		return mistakef(ErrHostKeyChanged, err,
			"STOPPED: the host key of %s (%s), %s %s, is revoked in %s line %d; nothing was sent. Give the host a new key, then replace that line",
			t.name, t.address, key.Type(), ssh.FingerprintSHA256(key), revoked.Revoked.Filename, revoked.Revoked.Line)
	default:
		return mistakef(ErrHostKeyChanged, err,
			"STOPPED: the host key of %s (%s) is not trusted: %v; nothing was sent. See what the host shows with: %s",
			t.name, t.address, err, strings.Replace(t.byHand(), "ssh", "ssh -v", 1))
	}
}

// leftOut names the lines that were passed over, as ssh(1) does: the host may be
// in one of them.
func (k *hostKeys) leftOut() string {
	skipped := k.known.skipped
	switch {
	case len(skipped) == 0:
		return ""
	case k.known.more > 0:
		skipped = append(slices.Clone(skipped), fmt.Sprintf("and %d more", k.known.more))
	}
	return "; not read there: " + strings.Join(skipped, ", ")
}

// describe tells what known_hosts has instead.
func describe(known []xknownhosts.KnownKey) string {
	lines := make([]string, len(known))
	for i, k := range known {
		lines[i] = fmt.Sprintf("%s line %d has %s %s", k.Filename, k.Line, k.Key.Type(), ssh.FingerprintSHA256(k.Key))
	}
	return strings.Join(lines, ", ")
}

// forget is the command that removes keys from the files they are in.
func forget(t target, known []xknownhosts.KnownKey) string {
	var commands []string
	for _, k := range known {
		command := remote.Cmd("ssh-keygen", "-R", knownhosts.Normalize(t.known()), "-f", k.Filename).Script
		if !slices.Contains(commands, command) {
			commands = append(commands, command)
		}
	}
	return strings.Join(commands, " && ")
}

// keyFile is where sshd keeps the public half of a key of that type.
func keyFile(key ssh.PublicKey) string {
	return "/etc/ssh/ssh_host_" + keyName(key) + "_key.pub"
}

// keyName is the word that ssh-keygen and ssh-keyscan have for a key type.
func keyName(key ssh.PublicKey) string {
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	switch {
	case strings.HasPrefix(key.Type(), "ecdsa-"):
		return "ecdsa"
	case key.Type() == ssh.KeyAlgoRSA:
		return "rsa"
	default:
		return "ed25519"
	}
}

// trustCommand adds a key to known_hosts. What is behind a bastion cannot be
// scanned, and what is scanned has no alias; ssh asks there.
func (t target) trustCommand(key ssh.PublicKey) string {
	if t.via != nil || t.alias != "" {
		return t.byHand()
	}
	words := []string{"ssh-keyscan", "-t", keyName(key)}
	if t.port() != "22" {
		words = append(words, "-p", t.port())
	}
	return remote.Cmd(append(words, t.host())...).Script + " >> " + remote.Quote(t.knownHosts)
}

func (t target) host() string {
	host, _, _ := net.SplitHostPort(t.address) // made by JoinHostPort
	return host
}

func (t target) port() string {
	_, port, _ := net.SplitHostPort(t.address)
	return port
}

// jumps is how ssh(1) is told of the bastions, "" where there are none.
func (t target) jumps() string {
	if t.via == nil {
		return ""
	}
	way := ""
	for hop := t.via; hop != nil; hop = hop.via {
		word := hop.user + "@" + hop.host()
		if hop.port() != "22" {
			word = hop.user + "@" + hop.address
		}
		way = "," + word + way
	}
	return way[1:]
}

// byHand is the ssh command that connects as we would. It is made to be pasted: a
// spec, an inventory and ~/.ssh/config have words in it.
func (t target) byHand() string {
	words := []string{"ssh"}
	if t.port() != "22" {
		words = append(words, "-p", t.port())
	}
	if t.named {
		words = append(words, "-i", t.identities[0])
	}
	if t.alias != "" {
		words = append(words, "-o", "HostKeyAlias="+t.alias)
	}
	if t.knownHosts != t.usualKnown { // it is the spec's, or of a host that ssh(1) knows by another name
		words = append(words, "-o", "UserKnownHostsFile="+oneValue(t.knownHosts))
	}
	if way := t.jumps(); way != "" {
		words = append(words, "-J", way)
	}
	return remote.Cmd(append(words, t.user+"@"+t.host())...).Script
}

// copyID is the command that gives the host the key.
func (t target) copyID() string {
	words := []string{"ssh-copy-id"}
	if t.named {
		words = append(words, "-i", t.identities[0])
	}
	if t.port() != "22" {
		words = append(words, "-p", t.port())
	}
	if way := t.jumps(); way != "" {
		words = append(words, "-o", "ProxyJump="+way)
	}
	return remote.Cmd(append(words, t.user+"@"+t.host())...).Script
}

// oneValue is a file's name as the value of an option of ssh(1), which takes a
// value with spaces for several.
func oneValue(file string) string {
	if strings.ContainsAny(file, " \t") {
		return `"` + file + `"`
	}
	return file
}
