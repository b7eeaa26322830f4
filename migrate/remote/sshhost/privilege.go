package sshhost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hamigrate/migrate/remote"
)

// first runs a command of the login.
func (h *Host) first(ctx context.Context, c *conn, what call) error {
	ctx, cancel := context.WithTimeoutCause(ctx, h.target.limits.login,
		mistakef(ErrSilent, nil, "%s let us in and ran nothing within %s; try it yourself: %s true", h.target.name, inSeconds(h.target.limits.login), h.target.byHand()))
	defer cancel()
	what.reads, what.atMost = true, loginOutput
	what, record := h.recorded(what)
	err := c.run(ctx, h.target, what)
	record(err)
	return h.talkative(err)
}

// findPrivilege decides how commands get root's rights, once a Host.
func (h *Host) findPrivilege(ctx context.Context, c *conn) error {
	if h.become == becomeAuto {
		var out strings.Builder
		if err := h.first(ctx, c, call{script: "id -u", stdout: &out}); err != nil {
			return fmt.Errorf("finding out who we are: %w", h.noShell(err, &out))
		}
		uid, err := strconv.Atoi(strings.TrimSpace(out.String()))
		if strings.TrimSpace(out.String()) == "" {
			return mistakef(ErrPrivilege, err, "user %s on %s is nobody there: `id -u` printed nothing and ended with status 0; try it yourself: %s id -u",
				h.target.user, h.target.name, h.target.byHand())
		}
		if err != nil {
			return mistakef(ErrPrivilege, err,
				"the login shell of user %s on %s prints something of its own before a command's output (`id -u` gave %q); make its start-up files silent without a terminal (for bash: begin ~/.bashrc with `[ -t 0 ] || return`)",
				h.target.user, h.target.name, remote.Excerpt(out.String()))
		}
		if uid == 0 {
			h.become = becomeNone
			return nil
		}
	}
	if h.become == becomeNone || h.live != nil {
		return nil
	}
	c.sudo = true
	err := h.first(ctx, c, call{script: ":"})
	if looks, lookErr := h.mayLook(ctx, c, err); looks || lookErr != nil {
		return lookErr
	}
	if err != nil && h.passwordMayHelp(err) {
		err = h.findPassword(ctx, c)
	}
	if err != nil {
		return h.noSudo(err)
	}
	h.become, h.password = becomeSudo, c.password
	return nil
}

// passwordMayHelp says whether to try `sudo -S` after `sudo -n` failed: sudo
// itself ended it (status 1), and not because it wants a terminal.
func (h *Host) passwordMayHelp(err error) bool {
	var exit *remote.ExitError
	return h.shared.secrets.ask != nil && asExit(err, &exit) && exit.Status == 1 && !strings.Contains(exit.Stderr, "tty")
}

// findPassword finds sudo's password: that of the same user on another host,
// else one that is asked for, by one host at a time. All tries on a host count
// together, for they do so there: pam_faillock locks the user after three.
func (h *Host) findPassword(ctx context.Context, c *conn) error {
	s, user := h.shared.secrets, h.target.user
	if err := s.hasGivenUp(h.sudoHere()); err != nil {
		return err
	}
	if done, err := h.tryKnown(ctx, c); done || err != nil {
		return err
	}
	done, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := or(s.hasGivenUp("sudo "+user), s.hasGivenUp(h.sudoHere())); err != nil {
		return err
	}
	if done, err := h.tryKnown(ctx, c); done || err != nil { // asked for another host meanwhile
		return err
	}
	prefix := ""
	for {
		answer, err := s.ask(ctx, fmt.Sprintf("%sPassword of %s for sudo on %s: ", prefix, user, h.target.name))
		if err != nil {
			return s.giveUp(ctx, "sudo "+user, fmt.Errorf("asking for sudo's password: %w", err))
		}
		if done, err := h.tryPassword(ctx, c, answer); err != nil {
			return err
		} else if done {
			s.mu.Lock()
			s.passwords[user] = answer
			s.mu.Unlock()
			return nil
		}
		prefix = "sudo does not take that. "
	}
}

// sudoHere names the user's sudo on this host among the secrets.
func (h *Host) sudoHere() string { return "sudo of " + h.target.key() }

// tryKnown tries the password that was right on another host, unless it was
// tried here.
func (h *Host) tryKnown(ctx context.Context, c *conn) (bool, error) {
	s := h.shared.secrets
	known := s.password(h.target.user)
	if known == "" || s.wasWrong(h.sudoHere(), known) {
		return false, nil
	}
	return h.tryPassword(ctx, c, known)
}

// tryPassword lets sudo judge a password, once: its input ends behind it, so
// that sudo's second and third question, which would count as failed logins,
// get no answer. That it is wrong is an error where it was the last try.
func (h *Host) tryPassword(ctx context.Context, c *conn, password string) (bool, error) {
	var err error = &remote.ExitError{Host: h.target.name, Script: "sudo", Status: 1, Stderr: "a password is one line"}
	if !strings.ContainsAny(password, "\n\x00") {
		c.password = password
		err = h.first(ctx, c, call{script: ":", judges: true})
	}
	if err == nil {
		return true, nil
	}
	c.password = ""
	if !asExit(err, new(*remote.ExitError)) {
		return false, err
	}
	return false, h.shared.secrets.wrong(h.sudoHere(), password, err)
}

func (h *Host) noSudo(err error) error {
	var exit *remote.ExitError
	if !asExit(err, &exit) {
		return fmt.Errorf("trying sudo: %w", err)
	}
	user := h.target.user
	return mistakef(ErrPrivilege, err,
		"user %s on %s may not run commands as root (`sudo -n sh` says: %s); allow it on %s with: echo '%s ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/migrate && visudo -c, or with the narrower file that `migrate sudoers` prints (and `Defaults:%s !requiretty` where sudo wants a terminal), or set ssh.user: root, or run this on a terminal, where sudo's password is asked for",
		user, h.target.name, or(lastLine(exit.Stderr), "status "+strconv.Itoa(exit.Status)),
		h.target.name, user, user)
}

// lastLine is what counts of sudo's words: a lecture may come before it.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return remote.Excerpt(lines[len(lines)-1])
}

// checkAddress makes sure that ~/.ssh/config has led to the host that the
// spec means: it may have a host of that name in another cluster.
func (h *Host) checkAddress(ctx context.Context, c *conn) error {
	if h.target.expects == "" || h.live != nil {
		return nil
	}
	var out strings.Builder
	err := h.first(ctx, c, call{script: "ip -o addr show 2>/dev/null || hostname -I", stdout: &out})
	if err != nil {
		return fmt.Errorf("looking whether it has the address %s: %w", h.target.expects, err)
	}
	has := strings.FieldsFunc(out.String(), func(r rune) bool { return strings.ContainsRune(" \t\n\\/", r) })
	if slices.Contains(has, h.target.expects) {
		return nil
	}
	return mistakef(ErrOtherHost, errors.New("it has another address"),
		"~/.ssh/config leads to %s for %s, and that host does not have the address %s that the spec gives %s; nothing was changed on it. It may be a host of the same name in another cluster: then correct ~/.ssh/config. If it is the right one, behind an address that is translated, say so in the spec: ssh: {address: %s}",
		h.target.address, h.target.name, h.target.expects, h.target.name, h.target.host())
}
