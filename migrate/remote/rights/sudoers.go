package rights

import (
	"fmt"
	"regexp"
	"strings"
)

// Host is a host for which a sudoers file is made.
type Host struct {
	Name, User string
	Role       Role
	// Changes says why commands that change the host need root; empty: it is
	// only looked at.
	Changes string
}

// Path is where the file belongs. sudo takes no notice of files there with a dot
// in their name.
const Path = "/etc/sudoers.d/migrate"

// userName is what is printed without quotes: neither a group (%), a number (#),
// a netgroup (+) nor an alias (capitals alone), and nothing that begins another
// field.
var userName = regexp.MustCompile(`^[a-z_][a-zA-Z0-9._-]*(@[a-zA-Z0-9][a-zA-Z0-9.-]*)?$`)

// CheckUser is the error that a user can't be named in a sudoers file.
func CheckUser(user string) error {
	switch {
	case user == "root":
		return fmt.Errorf("the login user is root, who needs no sudo: name another one in ssh.user")
	case !userName.MatchString(user) || len(user) > 100:
		return fmt.Errorf("ssh.user is %q: a name in a sudoers file begins with a small letter or _ and goes on with letters, digits and . _ - @", user)
	}
	return nil
}

// escape is text as sudoers wants it in a command's arguments (sudoers(5)): these
// characters end them, or are a pattern's.
var escape = strings.NewReplacer(`\`, `\\`, `,`, `\,`, `:`, `\:`, `=`, `\=`, `#`, `\#`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `!`, `\!`, `"`, `\"`)

// sudoersPatterns are the arguments as sudoers has them, one for each length of a number.
func sudoersPatterns(arguments string) []string {
	digits := func(word string, most int) []string {
		var out []string
		for n := 1; n <= most; n++ {
			out = append(out, strings.ReplaceAll(arguments, word, strings.Repeat("<DIGIT>", n)))
		}
		return out
	}
	list := []string{arguments}
	switch {
	case strings.Contains(arguments, pid):
		list = digits(pid, pidDigits)
	case strings.Contains(arguments, port):
		list = digits(port, portDigits)
	}
	for i, text := range list {
		list[i] = strings.NewReplacer("<DIGIT>", "[0-9]", anyPID, "[0-9]*", anything, "*").Replace(escape.Replace(text))
	}
	return list
}

// Sudoers is the file of a host.
func Sudoers(h Host) (string, error) {
	if err := CheckUser(h.User); err != nil {
		return "", fmt.Errorf("%s: %w", h.Name, err)
	}
	user := escapeUser.Replace(h.User)
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n", h.Name, Path)
	fmt.Fprintf(&b, "Defaults:%s !requiretty\n\n", user)
	if h.Changes != "" {
		b.WriteString(comment("CHANGES. This is all of root's rights, and cannot be narrowed: " + h.Changes +
			" Whoever may write such a file decides what root runs. On a host that is only looked at, these lines are not there (--read-only, --phase)."))
		fmt.Fprintf(&b, "%s ALL=(root) NOPASSWD: /bin/sh -c *\n", user)
		fmt.Fprintf(&b, "%s ALL=(root) NOPASSWD: /usr/bin/env MIGRATE_RUN\\=* sh -c *\n", user)
		return b.String(), nil
	}
	b.WriteString(comment("LOOKS. Any command, as " + h.User + " itself with one capability: it may read every file. " +
		"It cannot be narrowed to some files: which ones there are, manifests, units and nginx's configuration say. " +
		"Among them are the keys of the cluster, so whoever has this may change the cluster through its API, though nothing on this host. " +
		"See docs/ssh.md for the rest of what reading everything means."))
	fmt.Fprintf(&b, "%s ALL=(root) NOPASSWD: %s %s *\n", user, setpriv, escape.Replace("--reuid="+h.User+" "+fixed))
	for _, c := range Commands(h.Role) {
		b.WriteString("\n" + comment(c.Program+": "+c.Why+"."))
		for _, p := range c.Paths {
			var list []string
			for _, a := range c.Arguments {
				for _, pattern := range sudoersPatterns(a) {
					list = append(list, p+" "+pattern)
				}
			}
			fmt.Fprintf(&b, "%s ALL=(root) NOPASSWD: %s\n", user, strings.Join(list, ", \\\n    "))
		}
	}
	return b.String(), nil
}

// escapeUser is a user's name as sudoers wants it outside of a command.
var escapeUser = strings.NewReplacer(`@`, `\@`)

// comment is text in lines that begin with #.
func comment(text string) string {
	var b strings.Builder
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+len(word) > 78 {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}

// Allow is the command that puts the file of a host in place: checked before
// sudo sees it, under a name that sudo takes no notice of until then. sudoers is
// what prints the file, ssh what logs in as root. Where the first prints nothing,
// since it failed, the file of before stays: an empty one is a good one to visudo.
func Allow(sudoers, ssh string) string {
	const unseen = "/etc/sudoers.d/.migrate"
	return fmt.Sprintf("%s | %s 'umask 0337; cat >%[3]s && test -s %[3]s && visudo -cqf %[3]s && mv %[3]s %s'", sudoers, ssh, unseen, Path)
}
