package rights

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Only programs that can do nothing but read have a pattern in which a * stands
// for further arguments.
func TestPatternsAreExact(t *testing.T) {
	t.Parallel()
	readers := []string{"readlink", "stat"}
	for _, c := range Commands(every) {
		for _, a := range c.Arguments {
			for _, p := range sudoersPatterns(a) {
				if wild := strings.Contains(strings.ReplaceAll(p, `\*`, ""), "*"); wild && !slices.Contains(readers, c.Program) {
					t.Errorf("%s %s: sudo takes anything for the *", c.Program, p)
				}
			}
		}
		if strings.Trim(c.Program, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			t.Errorf("%s is no name for a function of every shell", c.Program)
		}
		for _, p := range c.Paths {
			if !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "*?[") {
				t.Errorf("%s is no fixed path", p)
			}
		}
	}
}

// What reads, and with a variation writes, ends or kills, is not allowed.
func TestVariationsAreNotAllowed(t *testing.T) {
	t.Parallel()
	file, err := Sudoers(Host{Name: "cp1", User: "ops", Role: every})
	if err != nil {
		t.Fatal(err)
	}
	// sudo compares the arguments, joined with blanks, as fnmatch(3) does.
	allows := func(command string) bool {
		for line := range strings.Lines(strings.ReplaceAll(file, "\\\n    ", "")) {
			_, list, is := strings.Cut(strings.TrimSpace(line), "NOPASSWD: ")
			if !is {
				continue
			}
			for p := range strings.SplitSeq(list, ", ") {
				if regexp.MustCompile("^" + fnmatch(p) + "$").MatchString(command) {
					return true
				}
			}
		}
		return false
	}
	for _, c := range []string{
		"/usr/bin/ss -Htnp state established ( sport = :6443 )", "/usr/sbin/ss -Hltnp ( sport = :80 )", "/usr/bin/cat /proc/1234567/environ",
		"/usr/sbin/nginx -T", "/usr/sbin/nft list table ip migrate_overlap", "/bin/readlink /proc/1/exe",
		"/usr/bin/stat -L -c %d %i %s %y %z %Z /proc/77/root/usr/local/bin/etcd",
		"/usr/bin/timeout 5 /usr/local/bin/crictl --runtime-endpoint unix:///run/crio/crio.sock version",
		"/usr/bin/setpriv --reuid=ops --regid=65534 --clear-groups --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search -- sh -c x",
	} {
		if !allows(c) {
			t.Errorf("a look may not run %s", c)
		}
	}
	for _, c := range []string{
		"/usr/bin/ss -Htnp state established ( sport = :6443 ) -K", "/usr/bin/ss -K", "/usr/bin/ss -Htnp state established ( sport = :6443 -D /etc/passwd )",
		"/usr/bin/cat /proc/1/../../etc/shadow", "/usr/bin/cat /proc/1 /dev/sda /environ", "/usr/bin/cat /proc/kmsg",
		"/usr/sbin/nginx -T -c /tmp/mine", "/usr/sbin/nginx -s stop", "/usr/sbin/nginx", "/usr/sbin/nft flush ruleset", "/usr/sbin/nft -f -", "/usr/sbin/iptables -F",
		"/usr/bin/find /proc -delete", "/usr/bin/timeout 5 /bin/sh", "/usr/bin/timeout 5 /usr/bin/crictl --runtime-endpoint unix:///run/crio/crio.sock rmi x",
		"/usr/bin/sha256sum /proc/kmsg", "/bin/sh -c x", "/usr/bin/env MIGRATE_RUN=x sh -c y",
		"/usr/bin/setpriv --reuid=root -- sh", "/usr/bin/setpriv --reuid=ops --regid=65534 --clear-groups --inh-caps=-all,+sys_admin -- sh",
		"/usr/bin/setpriv -- sh",
	} {
		if allows(c) {
			t.Errorf("the file of a host that is only looked at allows %s", c)
		}
	}
}

// fnmatch is a pattern of sudoers as a regular expression.
func fnmatch(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			i++
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		case c == '*':
			b.WriteString(".*")
		case strings.HasPrefix(pattern[i:], "[0-9]"):
			b.WriteString("[0-9]")
			i += len("[0-9]") - 1
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return b.String()
}

func TestUsersThatAreNotPrinted(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"", "root", "ALL", "OPS", "%wheel", "#0", "+net", "ops ALL", "ops,eve", "ops:eve", "a\nb", "ops=x", "!ops", `DOM\ops`, "-ops", "ops\\", "é", `"ops"`, "ops #"} {
		if file, err := Sudoers(Host{Name: "cp1", User: user, Role: First}); err == nil {
			t.Errorf("user %q is printed: %.60s", user, file)
		} else if !strings.Contains(err.Error(), "cp1") || !strings.Contains(err.Error(), "ssh.user") && user != "root" {
			t.Errorf("the error for user %q names neither the host nor the field: %v", user, err)
		}
	}
	file, err := Sudoers(Host{Name: "cp1", User: "ops@example.com", Role: First})
	if err != nil || !strings.Contains(file, "\nops\\@example.com ALL=(root) NOPASSWD: ") {
		t.Errorf("a user of a domain: %v\n%.300s", err, file)
	}
}

func TestChangesAreAllOrNothing(t *testing.T) {
	t.Parallel()
	file, err := Sudoers(Host{Name: "e1", User: "ops", Role: EtcdHost, Changes: "because."})
	if err != nil || !strings.Contains(file, "because.") || !strings.Contains(file, "ops ALL=(root) NOPASSWD: /bin/sh -c *\n") {
		t.Errorf("%v\n%s", err, file)
	}
	if strings.Contains(file, "setpriv") {
		t.Errorf("looks have rules of their own beside all of root's rights:\n%s", file)
	}
}

// With visudo here, it is asked.
func TestVisudo(t *testing.T) {
	t.Parallel()
	visudo, err := exec.LookPath("visudo")
	if err != nil {
		t.Skip("there is no visudo here; the end-to-end test asks that of the hosts")
	}
	for _, changes := range []string{"", "because."} {
		file, err := Sudoers(Host{Name: "cp1", User: "ops@example.com", Role: every, Changes: changes})
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "migrate")
		if err := os.WriteFile(name, []byte(file), 0o440); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), visudo, "-cf", name).CombinedOutput(); err != nil {
			t.Errorf("visudo: %v\n%s", err, out)
		}
	}
}
