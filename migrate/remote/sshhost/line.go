package sshhost

import (
	"errors"
	"fmt"
	"strings"

	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/rights"
)

// outputLimit is the most a command may print, and the most ReadFile reads.
const outputLimit = 16 << 20

// maxLine keeps the command line under Linux's MAX_ARG_STRLEN (128 KiB):
// sshd passes it to the login shell as one argument.
const maxLine = 120_000

// prologue runs the script that is its $1, with no positional parameters.
// LC_ALL=C keeps messages and sorting the same everywhere. The folders are
// appended to PATH because sudo's secure_path leaves /usr/local/bin out on
// the Red Hat family, and kubeadm is often installed there.
const prologue = `PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin; LC_ALL=C; export PATH LC_ALL; ` +
	`eval "shift; $(printf %b "$1")"`

// markVariable is set in the environment of a command and of all it starts,
// so that kill finds them.
const markVariable = "MIGRATE_RUN"

// commandLine is what sshd hands to the user's login shell, which need not be
// POSIX: fish reads backslashes inside single quotes, csh reads ! and line
// breaks there. So the script has those bytes spelled in octal for printf %b,
// and stays readable in sudo's log. The mark may be empty.
func commandLine(script, mark string, sudo bool) (string, error) {
	prefix := ""
	if sudo {
		prefix = "sudo -n -- "
	}
	return lineWith(prefix, prologue, script, mark)
}

// askingLine is commandLine for a sudo that wants a password. That is the
// first line of the standard input, and never in the line itself: command
// lines are visible to everybody on the host. Whether sudo reads it depends on
// sudoers, so a nonce follows: the shell drops all up to it, and the script
// sees its own input only. Without a nonce the input is the password alone.
//
// -k: a password that was given before does not count, so that sudo does the
// same each time.
func askingLine(script, mark, nonce string) (string, error) {
	drop := ""
	if nonce != "" {
		drop = `IFS= read -r MIGRATE_LINE; [ "$MIGRATE_LINE" = ` + nonce + ` ] || IFS= read -r MIGRATE_LINE; unset MIGRATE_LINE; `
	}
	return lineWith(`sudo -k -S -p "" -- `, drop+prologue, script, mark)
}

// lookingLine is commandLine for a user who may only look.
func lookingLine(script, mark, user string) (string, error) {
	return lineWith(rights.LookingAs(user), prologue, rights.Functions()+script, mark)
}

func lineWith(prefix, prologue, script, mark string) (string, error) {
	if strings.ContainsRune(script, 0) {
		return "", errors.New("a script cannot hold a NUL byte")
	}
	line := "exec " + prefix
	if mark != "" {
		line += "env " + markVariable + "=" + mark + " "
	}
	line += "sh -c '" + prologue + "' sh '" + spell(script) + "'"
	if len(line) > maxLine {
		return "", fmt.Errorf("a script of %d bytes is too long for a command line; feed it by standard input", len(script))
	}
	return line, nil
}

// spell returns script with every byte that some shell treats specially
// between single quotes as \0ooo, for printf %b.
func spell(script string) string {
	var b strings.Builder
	for i := range len(script) {
		switch c := script[i]; {
		case c < ' ', c >= 0x7f, c == '\'', c == '\\', c == '!':
			fmt.Fprintf(&b, `\0%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// asExit is errors.As for the error of a command that ran.
func asExit(err error, exit **remote.ExitError) bool { return errors.As(err, exit) }
