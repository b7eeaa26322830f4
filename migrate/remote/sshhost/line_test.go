package sshhost

import (
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hamigrate/migrate/remote"
)

// TestCommandLine: whatever the login shell, a script arrives as it is.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"sh", "bash", "dash", "zsh", "fish", "tcsh", "busybox"} {
		file, err := exec.LookPath(shell)
		if err != nil {
			continue // not on this machine; sh is everywhere
		}
		login := []string{file, "-c"}
		if shell == "busybox" {
			login = []string{file, "sh", "-c"}
		}
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				want := text().Draw(t, "word")
				checkLine(t, login, "printf %s "+remote.Quote(want), want)
			})
		})
	}
}

// text draws words that are hard on shells.
func text() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		hard := rapid.SampledFrom([]string{"'", `"`, `\`, "!", "\n", "\r", "$HOME", "`id`", "%s", `\0`, `\\`, " ", "*", "~", "é", "\xff", "#", "-n", ";", "&"})
		if rapid.Bool().Draw(t, "hard") {
			return strings.Join(rapid.SliceOfN(hard, 0, 8).Draw(t, "parts"), "")
		}
		return strings.ReplaceAll(rapid.String().Draw(t, "any"), "\x00", "")
	})
}

func checkLine(t rapid.TB, login []string, script, want string) {
	line, err := commandLine(script, "MARK", false)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(login[0], append(login[1:], line)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
	got, err := cmd.Output()
	if err != nil || string(got) != want {
		t.Fatalf("%s with %q: got %q, %v", login[0], line, got, err)
	}
}

// TestScriptSurroundings: no positional parameters, messages in English, the
// folders sudo's secure_path leaves out, and a script of several lines.
func TestScriptSurroundings(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		`echo "$# $1 $0"`:      "0  sh\n",
		`echo $LC_ALL`:         "C\n",
		`echo $MIGRATE_RUN`:    "MARK\n",
		`echo "$PATH"`:         "/usr/bin:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin\n",
		"# a comment\necho x":  "x\n",
		"cat <<'X'\n$a\n'\nX":  "$a\n'\n",
		"f() {\n echo f\n}\nf": "f\n",
		"":                     "",
		"echo a\n\n\n":         "a\n",
	} {
		checkLine(t, []string{"/bin/sh", "-c"}, script, want)
	}
}

func TestScriptsThatCannotBeSent(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"echo \x00", strings.Repeat("x", 120_000), strings.Repeat("\n", 30_000)} {
		if _, err := commandLine(script, "", true); err == nil {
			t.Errorf("%.10q (%d bytes): no error", script, len(script))
		}
	}
}

// TestLineIsReadable: what sudo logs can be read by a human.
func TestLineIsReadable(t *testing.T) {
	t.Parallel()
	line, err := commandLine("systemctl restart 'kubelet'", "", true)
	want := "exec sudo -n -- sh -c '" + prologue + `' sh 'systemctl restart \0047kubelet\0047'`
	if err != nil || line != want {
		t.Errorf("got %s, %v", line, err)
	}
}
