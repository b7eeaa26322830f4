package sshhost

import (
	"context"
	"strings"

	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/rights"
)

// lookTest is what a user who may only look runs at the login. It prints
// "hidden" where /proc does not show other users' processes: a look would take
// that for their absence.
const lookTest = `cat /proc/1/comm >/dev/null 2>&1 || echo hidden`

// mayLook decides that the user may only look: root's rights were refused
// (denied says how), and sudo allows what `migrate sudoers` prints for looks. It
// is not so where root's rights can be had with a password that somebody may
// give.
func (h *Host) mayLook(ctx context.Context, c *conn, denied error) (bool, error) {
	var exit *remote.ExitError
	if !asExit(denied, &exit) || exit.Status != 1 || rights.CheckUser(h.target.user) != nil {
		return false, nil
	}
	c.sudo, c.looks = false, true
	var out strings.Builder
	err := h.first(ctx, c, call{script: lookTest, stdout: &out})
	if c.looks = false; err == nil && h.passwordMayHelp(denied) {
		err = unless(h.first(ctx, c, call{script: "sudo -n -l -- sh -c : >/dev/null 2>&1"}))
	}
	if err != nil {
		c.sudo = true
		if asExit(err, &exit) {
			return false, nil
		}
		return false, err
	}
	if strings.TrimSpace(out.String()) == "hidden" {
		return false, mistakef(ErrPrivilege, denied,
			"user %s on %s may only look, and /proc on %s hides the processes of other users (hidepid): mount it without that, or allow all: echo '%s ALL=(ALL) NOPASSWD: ALL' > %s && visudo -c",
			h.target.user, h.target.name, h.target.name, h.target.user, rights.Path)
	}
	h.become = becomeLook
	return true, nil
}

// unless turns the end of a command round: that it failed is no error.
func unless(err error) error {
	var exit *remote.ExitError
	switch {
	case err == nil:
		return &remote.ExitError{Status: 1, Stderr: "sudo allows it with a password"}
	case asExit(err, &exit):
		return nil
	}
	return err
}

// MayChange is a *remote.LooksOnlyError where the user may only look.
func (h *Host) MayChange(ctx context.Context) error {
	if _, err := h.connect(ctx); err != nil {
		return err
	}
	h.turn <- struct{}{}
	defer func() { <-h.turn }()
	if h.become == becomeLook {
		return h.target.looksOnly()
	}
	return nil
}

func (t target) looksOnly() error {
	return &remote.LooksOnlyError{Host: t.name, User: t.user, Allow: t.allow("")}
}

// allow is the command that puts the sudoers file of the host in place: of the
// cluster that this one is about, by the way on which the host is reached. option
// chooses the file.
func (t target) allow(option string) string {
	sudoers := "migrate sudoers" + t.given + " --host " + remote.Quote(t.name) + option
	if t.noSpec {
		sudoers = "migrate sudoers " + remote.Quote(t.user+"@"+t.host())
	}
	t.user = "root"
	return rights.Allow(sudoers, t.byHand())
}

// refused is the error of a look for which sudo refused a program: what the
// look printed says nothing.
func (t target) refused(command string) error {
	refused := &remote.RefusedError{Host: t.name, User: t.user, Command: command, Allow: t.allow(" --read-only")}
	return mistakef(ErrPrivilege, refused, "%v", refused)
}
