package remote

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestExcerpt: what fits is as it was, and of the rest there is the beginning,
// or the end where that counts, in whole characters.
func TestExcerpt(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"":                          "",
		" no space left \n":         "no space left",
		strings.Repeat("x", 200):    strings.Repeat("x", 200),
		strings.Repeat("x", 201):    strings.Repeat("x", 200) + " … (201 bytes in all)",
		strings.Repeat("ü", 150):    strings.Repeat("ü", 150),
		strings.Repeat("ü", 300):    strings.Repeat("ü", 200) + " … (600 bytes in all)",
		strings.Repeat("\xff", 201): strings.Repeat("\xff", 200) + " … (201 bytes in all)",
	} {
		if got := Excerpt(said); got != want {
			t.Errorf("of %d bytes: %q", len(said), got)
		}
	}
	if got := LastWords("warning: something\nerror: the reason\n"); got != "warning: something\nerror: the reason" {
		t.Errorf("%q", got)
	}
	got := LastWords(strings.Repeat("warnüng\n", 1000) + "error: the reason\n")
	if !strings.HasPrefix(got, "… ") || !strings.HasSuffix(got, "error: the reason") || len(got) > 1100 || !utf8.ValidString(got) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	long := (&ExitError{Host: "cp1", Script: "true", Status: 1, Stderr: strings.Repeat("x", 4096)}).Error()
	if len(long) > 1100 {
		t.Errorf("an error of %d bytes", len(long))
	}
}
