package remote_test

import (
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hamigrate/migrate/remote"
)

// TestQuoteSurvivesTheShell: any words arrive as they are.
func TestQuoteSurvivesTheShell(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.String().Filter(func(s string) bool {
			return !strings.ContainsRune(s, 0) // no argument of a process can hold NUL
		}), 1, 4).Draw(t, "words")
		script := remote.Cmd(append([]string{"printf", `%s\0`}, words...)...).Script
		out, err := exec.Command("/bin/sh", "-c", script).Output()
		if want := strings.Join(words, "\x00") + "\x00"; err != nil || string(out) != want {
			t.Fatalf("%s printed %q, %v", script, out, err)
		}
	})
}

func TestQuote(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"": "''", "a": "a", "/etc/a-b_c.d": "/etc/a-b_c.d", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "~": "'~'", "é": "'é'",
	} {
		if got := remote.Quote(word); got != want {
			t.Errorf("%q: got %s, want %s", word, got, want)
		}
	}
}

func TestExitErrorIsASentence(t *testing.T) {
	t.Parallel()
	for stderr, want := range map[string]string{
		"no such unit\n": "cp1: `systemctl stop x` ended with status 5: no such unit",
		"":               "cp1: `systemctl stop x` ended with status 5: no message",
	} {
		err := &remote.ExitError{Host: "cp1", Script: "systemctl stop x", Status: 5, Stderr: stderr}
		if err.Error() != want {
			t.Errorf("got %s", err)
		}
	}
}

func TestBrief(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"systemctl stop x":            "systemctl stop x",
		"{\necho one\necho two\n}\n:": "echo one …",
	} {
		if got := remote.Brief(script); got != want {
			t.Errorf("%q is %q in a sentence, not %q", script, got, want)
		}
	}
}
