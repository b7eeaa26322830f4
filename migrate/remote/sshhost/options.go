package sshhost

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
)

// Defaults of cluster.SSH and of Options, and the limits of OpenSSH's sshd
// they keep clear of (sshd_config(5)).
const (
	defaultUser      = "root"
	defaultPort      = 22
	defaultTimeout   = 10 * time.Second
	defaultKeepAlive = 5 * time.Second

	// keepAliveMisses is how many keepalives in a row may stay unanswered:
	// with the default interval a host that vanished is known to be gone after
	// 10 to 15 s.
	keepAliveMisses = 2
	// reconnectTime is how long a connection that was lost is dialed again.
	// After that the host counts as down, and a command fails as fast as the
	// first one to a host that is.
	reconnectTime = 30 * time.Second
	// repeats is how often what may be done twice is done again because its
	// connection was lost: a network that fails more often than that in one
	// call is no network to migrate a cluster over.
	repeats = 5
	// detachDir is where the host keeps what belongs to detached commands. It
	// is in memory: a host that restarted has forgotten them, which is how
	// their loss is noticed, and a full disk does not matter.
	detachDir = "/run/migrate/commands"
	// killTime bounds the killing of a command whose context ended.
	killTime = 5 * time.Second
)

// slots is a kind of session. Each kind has its own bound, so that a copy,
// which holds a stream while it waits for a command, cannot wait for itself,
// and a hung command can be killed when all others hang too. Together they
// stay under sshd's MaxSessions (10), with two to spare because sshd may count
// a closed session for a moment. Forwarded connections do not count.
type slots int

const (
	commands slots = iota
	streams
	kills
	slotKinds
)

// newSlots returns the semaphores: 5 commands, 2 streams, 1 kill.
func newSlots() [slotKinds]chan struct{} {
	return [slotKinds]chan struct{}{
		commands: make(chan struct{}, 5), streams: make(chan struct{}, 2), kills: make(chan struct{}, 1),
	}
}

// Values of cluster.SSH.Become.
const (
	becomeAuto = "auto"
	becomeNone = "none"
	becomeSudo = "sudo"
	becomeLook = "look" // not a setting: what sudo allows a user who may only look
)

// Options are what all connections have in common. The zero value is usable.
type Options struct {
	// Logger gets one debug line a command: host, script, status, duration.
	// Standard input is never logged. Nil means no log.
	Logger hclog.Logger
	// Recorder is told of each command that has ended. Nil: nobody is.
	Recorder Recorder
	// KeepAlive is the time between two keepalives; after two of them
	// without an answer the connection is closed. 0 means 5 s.
	KeepAlive time.Duration
	// AgentSocket is the SSH agent's socket; "" means what ~/.ssh/config says
	// (IdentityAgent), else $SSH_AUTH_SOCK.
	AgentSocket string
	// Home is what ~ stands for and where the config, the default identity
	// files and known_hosts are looked for; "" means the user's home folder.
	Home string
	// GlobalKnownHosts is the machine's own list of host keys; "" means
	// /etc/ssh/ssh_known_hosts.
	GlobalKnownHosts string
	// NoUserConfig leaves ~/.ssh/config unread.
	NoUserConfig bool
	// Ask puts a question to whoever sits at the terminal and returns the
	// answer, which is not shown: for the passphrase of a key and for sudo's
	// password. Each is asked once, one question at a time. Nil: nobody can be
	// asked.
	Ask func(ctx context.Context, question string) (string, error)
	// AcceptNewHostKeys trusts a host that known_hosts says nothing about, and
	// adds its key there. A key that changed is refused all the same.
	AcceptNewHostKeys bool
	// Tell gets a sentence for each host key that was accepted, and one for
	// what of ~/.ssh/config and known_hosts is left out. Nil: nobody is told.
	Tell func(sentence string)
	// Waits hears for which host the program waits, when it has waited for 5 s
	// and then every 10 s. It must not call back into this package. Nil: nobody
	// is told.
	Waits func(remote.Wait)
	// Jump is the way to hosts for which ~/.ssh/config names none, as
	// ProxyJump has it: "user@bastion:port,…".
	Jump string
	// Given are the flags that name the cluster, each with a space before it: they
	// stand in the commands of this program that an error proposes.
	Given string
	// NoSpec: there is no spec, and so a host has no name in one.
	NoSpec bool
}

// target is a host's cluster.SSH with everything filled in: what the spec
// says, else what ~/.ssh/config says, else the default. It is the one place
// where settings are decided.
type target struct {
	name       string // the host's name in the spec
	user       string
	address    string // host:port as dialed and, without an alias, as looked up in known_hosts
	alias      string // HostKeyAlias
	identities []string
	explicit   bool     // the spec names the identity: it must be there
	named      bool     // identities were named by the spec or the config
	onlyNamed  bool     // IdentitiesOnly: no other key of the agent
	knownHosts string   // the first file, to which keys are added
	usualKnown string   // the file that ssh(1) takes without an option
	alsoKnown  []string // other files with host keys; they need not be there
	hashHosts  bool
	agent      string
	become     string
	timeout    time.Duration
	keepAlive  time.Duration
	reconnect  time.Duration
	limits     limits
	detachDir  string
	given      string // flags of a proposed command, see Options
	noSpec     bool
	via        *target // the bastion next to the host, with its own via
	// expects is the address that the spec gives the host, where
	// ~/.ssh/config leads elsewhere.
	expects string
}

// homeOf is the home folder. A service may run without HOME; OpenSSH goes by the
// user database anyway (ssh.c: pw->pw_dir).
func homeOf(o Options) (string, error) {
	if o.Home != "" {
		return o.Home, nil
	}
	if dir, err := os.UserHomeDir(); err == nil {
		return dir, nil
	}
	u, err := user.Current()
	if err != nil || u.HomeDir == "" {
		return "", fmt.Errorf("finding the home folder, where SSH's configuration and keys are: HOME is not set, and the user database has none for uid %d: set HOME=/FOLDER", os.Getuid())
	}
	return u.HomeDir, nil
}

// resolve decides on all settings of a host of the spec.
func resolve(h cluster.Host, o Options, c *userConfig) (target, error) {
	reached := or(h.SSH.Address, h.Address)
	s, err := c.of([]string{or(h.Name, reached), reached},
		given{user: h.SSH.User, port: h.SSH.Port, address: h.SSH.Address, otherwise: defaultUser})
	if err != nil {
		return target{}, err
	}
	t := target{
		name:   h.Name,
		user:   s.user,
		become: or(h.SSH.Become, becomeAuto),
	}
	switch t.become {
	case becomeAuto, becomeNone, becomeSudo:
	default:
		return target{}, fmt.Errorf("ssh.become of %s is %q; it can be auto, none or sudo", h.Name, t.become)
	}
	if s.hostName != "" {
		reached = s.hostName
	}
	if h.SSH.Address == "" && reached != h.Address && net.ParseIP(h.Address) != nil {
		t.expects = h.Address
	}
	t.address = net.JoinHostPort(reached, strconv.Itoa(s.port))
	t.fill(o, s, c.home)
	t.timeout = or(h.SSH.Timeout, defaultTimeout)
	if h.SSH.IdentityFile != "" {
		t.identities, t.explicit, t.named = []string{expand(h.SSH.IdentityFile, c.home)}, true, true
	}
	if h.SSH.KnownHostsFile != "" {
		t.knownHosts, t.alsoKnown = expand(h.SSH.KnownHostsFile, c.home), nil
	}
	t.via, err = c.jumps(or(s.proxyJump, o.Jump), o, []*target{&t})
	if err != nil {
		return target{}, fmt.Errorf("the way to %s: %w", h.Name, err)
	}
	if h.SSH.KnownHostsFile != "" {
		for hop := t.via; hop != nil; hop = hop.via {
			hop.alsoKnown = append(hop.alsoKnown, t.knownHosts)
		}
	}
	return t, nil
}

// fill sets what hosts and bastions have alike.
func (t *target) fill(o Options, s settings, home string) {
	t.alias, t.hashHosts = s.hostKeyAlias, s.hashKnownHosts
	t.given, t.noSpec = o.Given, o.NoSpec
	t.timeout = defaultTimeout
	t.keepAlive = or(o.KeepAlive, defaultKeepAlive)
	t.reconnect, t.detachDir, t.limits = reconnectTime, detachDir, usualLimits()
	t.agent = or(o.AgentSocket, or(s.identityAgent, os.Getenv("SSH_AUTH_SOCK")))
	if t.agent == "none" {
		t.agent = ""
	}
	t.usualKnown = filepath.Join(home, ".ssh", "known_hosts")
	t.knownHosts = t.usualKnown
	if len(s.knownHosts) > 0 {
		t.knownHosts, t.alsoKnown = s.knownHosts[0], s.knownHosts[1:]
	}
	t.alsoKnown = append(t.alsoKnown, or(o.GlobalKnownHosts, "/etc/ssh/ssh_known_hosts"))
	if t.onlyNamed = s.identitiesOnly; len(s.identities) > 0 {
		t.identities, t.named = s.identities, true
		return
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		t.identities = append(t.identities, filepath.Join(home, ".ssh", name))
	}
}

// jumps makes the bastions of a ProxyJump value, which lists them from the
// nearest to the farthest. The first may have a way of its own in the config.
// seen are the hosts that are on the way already.
func (c *userConfig) jumps(value string, o Options, seen []*target) (*target, error) {
	if value == "" || strings.EqualFold(value, "none") {
		return nil, nil
	}
	var last *target
	for i, word := range strings.Split(value, ",") {
		hop, own, err := c.hop(strings.TrimSpace(word), o)
		if err != nil {
			return nil, err
		}
		for _, s := range seen {
			if s.address == hop.address {
				return nil, fmt.Errorf("it leads to %s (%s) a second time and goes round in circles; write `Host %s` with `ProxyJump none` above the lines that say so in %s", hop.name, hop.address, hop.name, c.path)
			}
		}
		seen = append(seen, hop)
		hop.via = last
		if i == 0 {
			if hop.via, err = c.jumps(own, o, seen); err != nil {
				return nil, err
			}
		}
		last = hop
	}
	return last, nil
}

// hop makes one bastion of "[user@]host[:port]" or an ssh:// address, and
// returns its own ProxyJump beside it. Without a user ssh(1) takes whoever
// runs it, and so do we: a bastion is no host of the spec.
func (c *userConfig) hop(word string, o Options) (*target, string, error) {
	word = strings.TrimPrefix(word, "ssh://")
	login, place := "", word
	if at := strings.LastIndex(word, "@"); at >= 0 {
		login, place = word[:at], word[at+1:]
	}
	name, port := place, ""
	if h, p, err := net.SplitHostPort(place); err == nil {
		name, port = h, p
	}
	name = strings.Trim(name, "[]")
	by := given{user: login, otherwise: localUser()}
	number, err := strconv.Atoi(or(port, "22"))
	if name == "" || err != nil || number < 1 || number > 65535 {
		return nil, "", fmt.Errorf("ProxyJump %q is not [user@]host[:port]", word)
	}
	if port != "" {
		by.port = number
	}
	s, err := c.of([]string{name}, by)
	if err != nil {
		return nil, "", err
	}
	t := &target{
		name: name, user: s.user, become: becomeNone,
		address: net.JoinHostPort(or(s.hostName, name), strconv.Itoa(s.port)),
	}
	t.fill(o, s, c.home)
	return t, s.proxyJump, nil
}

// key tells ways apart: bastions that have the same are one connection.
func (t target) key() string {
	key := t.user + "@" + t.address
	if t.via != nil {
		key += " via " + t.via.key()
	}
	return key
}

// known is the host as known_hosts has it: host:port.
func (t target) known() string {
	if t.alias != "" {
		return net.JoinHostPort(t.alias, strconv.Itoa(defaultPort))
	}
	return t.address
}

// or returns v, or fallback where v is the zero value.
func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// expand replaces a leading ~/ by the home folder.
func expand(path, home string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(home, rest)
	}
	return path
}
