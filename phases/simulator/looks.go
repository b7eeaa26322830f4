package simulator

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/rights"
)

// lookMark begins the script of a look, so that the shell can tell it from one
// that may change something.
const lookMark = ": look\n"

// Look implements remote.Reader. What is due happens before, since a look
// that changes something is an error.
func (h *Host) Look(ctx context.Context, c remote.Command) (string, error) {
	h.world.settle()
	script := c.Script
	if c.Waits {
		h.world.memo.waiting(script)
	}
	c.Script = lookMark + script
	out, err := h.Fake.Look(ctx, c)
	var exit *remote.ExitError
	if errors.As(err, &exit) {
		exit.Script = script
	}
	return out, err
}

var _ remote.Limited = (*Host)(nil)

// MayChange implements remote.Limited.
func (h *Host) MayChange(context.Context) error {
	if h.world.OnlyLook {
		return &remote.LooksOnlyError{Host: h.Name(), User: "reader", Allow: "migrate sudoers --host " + h.Name()}
	}
	return nil
}

// readers are programs that need no more than to read every file, whatever they
// are told. What systemctl is told is looked at.
var readers = []string{
	"awk", "cat", "command", "curl", "cut", "date", "df", "dpkg-query", "du", "echo", "env", "etcd", "find", "getenforce", "getent", "getsebool", "grep", "head", "id", "ip",
	"journalctl", "kubeadm", "kubelet", "ls", "migrate", "openssl", "printf", "ps", "readlink", "sed", "sha256sum", "sort", "stat", "tail", "tr", "true", "uname", "wc", "which", "sleep", "test",
	// Files of their own, below folders in memory that everybody may write to.
	"mktemp", "mkdir", "rm", "set-umask", "send-signal", "sync",
}

// shownToItself is what of a process its own user alone is shown.
var shownToItself = regexp.MustCompile(`^/proc/[0-9*]+/(exe|environ|fd|root|ns|cwd|mem|maps)(/|$)`)

// needsRoot says whether a program needs more, with these arguments.
func needsRoot(program string, arguments []string) bool {
	words := strings.Join(arguments, " ")
	switch program {
	case "ss":
		return slices.ContainsFunc(arguments, func(a string) bool { return strings.HasPrefix(a, "-") && strings.Contains(a, "p") })
	case "nginx":
		return words != "-V"
	case "haproxy":
		return !slices.Contains(arguments, "-c")
	case "systemctl":
		return !slices.ContainsFunc([]string{"is-active", "is-enabled", "show", "list-units"}, func(verb string) bool { return slices.Contains(arguments, verb) })
	case "timeout":
		return needsRoot(arguments[1], arguments[2:])
	case "apt-get", "dnf":
		return !slices.Contains(arguments, "-s")
	}
	return !slices.Contains(readers, program) || slices.ContainsFunc(arguments, shownToItself.MatchString) || program == "find" && strings.HasPrefix(words, "/proc")
}

// looks wants each program of a look to be one that reads, or to be declared.
func (s *session) looks(program string, arguments []string) {
	if program == "unshare" { // what follows is run by those alone who may mount
		s.look = false
	}
	if s.look && needsRoot(program, arguments) && !rights.Covers(program, arguments) {
		s.host.world.never("a look on %s ran `%s %s`, which a login that may only look can't: migrate/remote/rights does not have it", s.host.Name(), program, strings.Join(arguments, " "))
	}
}

// reads is looks for a file that the shell itself opens.
func (s *session) reads(name string) {
	if s.look && shownToItself.MatchString(name) {
		s.host.world.never("a look on %s opened %s, which a login that may only look can't: let cat read it", s.host.Name(), name)
	}
}
