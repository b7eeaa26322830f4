package sshhost

import (
	"errors"
	"fmt"
	"strings"

	"hamigrate/migrate/remote"
)

// loginOutput is the most that a command of a login may print. The longest
// prints the addresses of a node: some hundred bytes for each pod.
const loginOutput = 256 << 10

// talkative makes a sentence of a login that was ended because it printed more
// than any command of ours does.
func (h *Host) talkative(err error) error {
	if !errors.Is(err, ErrOutputLimit) {
		return err
	}
	return mistakef(ErrOutputLimit, err,
		"the login shell of user %s on %s prints more than %d KiB where a line was asked for; see what that is: %s true | head -c 300",
		h.target.user, h.target.name, loginOutput>>10, h.target.byHand())
}

// noShell makes a sentence of a first command that was not run. A shell that is
// to keep people out says so on its standard output, if at all.
func (h *Host) noShell(err error, out *strings.Builder) error {
	var exit *remote.ExitError
	if !asExit(err, &exit) {
		return err // out may still be written to
	}
	says := fmt.Sprintf("%q", or(remote.LastWords(exit.Stderr), remote.Excerpt(out.String())))
	if says == `""` {
		says = "nothing"
	}
	return mistakef(ErrPrivilege, err,
		"user %[1]s logs in to %[2]s, and the login shell runs no command there: for `id -u` it says %[3]s and ends with status %[4]d; give %[1]s a shell on %[2]s (usermod -s /bin/sh %[1]s), or name another user in the spec as ssh.user",
		h.target.user, h.target.name, says, exit.Status)
}
