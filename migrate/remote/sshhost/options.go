package sshhost

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"hamigrate/migrate/cluster"
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
	// reconnectTime is how long a connection that was lost is dialed anew.
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
)

// Options are what all connections have in common. The zero value is usable.
type Options struct {
	// Logger gets one debug line a command: host, script, status, duration.
	// Standard input is never logged. Nil means no log.
	Logger hclog.Logger
	// KeepAlive is the time between two keepalives; after two of them
	// without an answer the connection is closed. 0 means 5 s.
	KeepAlive time.Duration
	// AgentSocket is the SSH agent's socket; "" means $SSH_AUTH_SOCK.
	AgentSocket string
	// Home is what ~ stands for and where the default identity files and
	// known_hosts are looked for; "" means the user's home folder.
	Home string
}

// target is a host's cluster.SSH with every default filled in. It is the one
// place where settings are decided: reading ~/.ssh/config belongs here.
type target struct {
	name       string // the host's name in the spec
	user       string
	address    string // host:port as dialed and as looked up in known_hosts
	identities []string
	explicit   bool // identities were given, not the default ones
	knownHosts string
	agent      string
	become     string
	timeout    time.Duration
	keepAlive  time.Duration
	reconnect  time.Duration
	detachDir  string
}

func resolve(h cluster.Host, o Options) (target, error) {
	home := o.Home
	if home == "" {
		dir, err := os.UserHomeDir()
		if err != nil {
			return target{}, fmt.Errorf("finding the home folder: %w", err)
		}
		home = dir
	}
	t := target{
		name:       h.Name,
		user:       or(h.SSH.User, defaultUser),
		address:    net.JoinHostPort(or(h.SSH.Address, h.Address), strconv.Itoa(or(h.SSH.Port, defaultPort))),
		knownHosts: expand(or(h.SSH.KnownHostsFile, "~/.ssh/known_hosts"), home),
		agent:      or(o.AgentSocket, os.Getenv("SSH_AUTH_SOCK")),
		become:     or(h.SSH.Become, becomeAuto),
		timeout:    or(h.SSH.Timeout, defaultTimeout),
		keepAlive:  or(o.KeepAlive, defaultKeepAlive),
		reconnect:  reconnectTime,
		detachDir:  detachDir,
	}
	switch t.become {
	case becomeAuto, becomeNone, becomeSudo:
	default:
		return target{}, fmt.Errorf("ssh.become of %s is %q; it can be auto, none or sudo", h.Name, t.become)
	}
	if h.SSH.IdentityFile != "" {
		t.identities, t.explicit = []string{expand(h.SSH.IdentityFile, home)}, true
		return t, nil
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		t.identities = append(t.identities, filepath.Join(home, ".ssh", name))
	}
	return t, nil
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
