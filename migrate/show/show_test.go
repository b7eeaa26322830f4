package show_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"hamigrate/migrate/show"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestForeign: nothing of a text can do more than be read, and no line of it
// passes for one of the program's.
func TestForeign(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"plain", "node cp1 is Ready: ≤ 3 °C, größe 日本", "node cp1 is Ready: ≤ 3 °C, größe 日本"},
		{"a cleared screen", "a\x1b[2Jb", `a\u001b[2Jb`},
		{"a window's title", "\x1b]0;root\x07", `\u001b]0;root\u0007`},
		{"a C1 control sequence", "\u009b2J", `\u009b2J`},
		{"a forged line", "refused\nmigrate: all is well", "refused\n" + show.Continued + "migrate: all is well"},
		{"a Windows line break", "one\r\ntwo", "one\n" + show.Continued + "two"},
		{"a line over a line", "really bad\rall is well", `really bad\u000dall is well`},
		{"line breaks at the end", "stderr\n\r\n", "stderr"},
		{"text from right to left", "ab\u202ecd", `ab\u202ecd`},
		{"a line break of Unicode", "a\u2028b\u0085c", `a\u2028b\u0085c`},
		{"what has no width", "a\u200bb\ufeff", `a\u200bb\ufeff`},
		{"no UTF-8", "a\xffb\xc3", `a\u00ffb\u00c3`},
		{"the mark of no UTF-8", "a\uFFFDb", "a\uFFFDb"},
		{"beyond 16 bits", "a\U000e0041b", `a\udb40\udc41b`},
		{"a tab", "a\tb", "a\tb"},
		{"NUL and DEL", "a\x00b\x7f", `a\u0000b\u007f`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, string(show.Foreign(c.text))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestCell: a cell is one line, whatever is in it.
func TestCell(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value any
		want  string
	}{
		{"a\nb\r\nc\n", "a | b | c"},
		{errors.New("x\x1by"), `x\u001by`},
		{7, "7"},
		{show.Green + "✓" + show.Reset, "\x1b[32m✓\x1b[0m"},
	} {
		if got := string(show.Cell(c.value)); got != c.want {
			t.Errorf("%q is shown as %q instead of %q", c.value, got, c.want)
		}
	}
}

// TestLongTextIsCut: a host can say megabytes.
func TestLongTextIsCut(t *testing.T) {
	t.Parallel()
	got := string(show.Foreign(strings.Repeat("é", 5<<20)))
	if len(got) > 9<<10 || !strings.HasSuffix(got, "bytes more)") || !utf8.ValidString(got) || strings.Contains(got, `\u`) {
		t.Errorf("10 MB are shown as %d bytes: …%q", len(got), got[len(got)-40:])
	}
}

type loud struct{}

func (loud) String() string { return "a\x1bb" }

// TestPrintf: whatever an argument is, and whatever the verb, it is quoted; what is
// Own, or has no text, stays.
func TestPrintf(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	n, err := show.Fprintf(&b, "%s|%v|%q|%-6s|%v|%d|%.1f|%s|%v|%s\n", "a\x1b", errors.New("e\x1b"), "q\x1b", "w",
		[]string{"l\x1b"}, 3, 1.25, loud{}, time.Second, show.Green)
	want := `a\u001b|e\u001b|"q\x1b"|w     |[l\u001b]|3|1.2|a\u001bb|1s|` + "\x1b[32m\n"
	if err != nil || b.String() != want || n != len(want) {
		t.Errorf("printed %q (%d, %v) instead of %q", b.String(), n, err, want)
	}
	if got := string(show.Sprintf("%v", map[string]string{"k": "v\n"})); got != "map[k:v\n"+show.Continued+"]" {
		t.Errorf("a map is shown as %q", got)
	}
	b.Reset()
	if _, err := show.Fprintln(&b, "a\x1b", show.Red); err != nil || b.String() != `a\u001b`+" \x1b[31m\n" {
		t.Errorf("printed %q (%v)", b.String(), err)
	}
}

// TestGuard: what went around Fprintf is quoted all the same, but for the program's
// own; a JSON text still means what it meant.
func TestGuard(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	text := string(show.Rewrite+show.Green) + "ok" + string(show.Reset) + "\n\x1b[2J\u202e\r\x07tab\t.\r\n"
	want := "\r\x1b[K\x1b[32mok\x1b[0m\n" + `\u001b[2J\u202e\u000d\u0007` + "tab\t.\r\n"
	if n, err := (show.Guard{W: &b}).Write([]byte(text)); err != nil || n != len(text) || b.String() != want {
		t.Errorf("wrote %q (%d, %v) instead of %q", b.String(), n, err, want)
	}
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.String().Draw(t, "value")
		data, err := json.Marshal(value)
		if err != nil {
			t.Skip("no JSON")
		}
		var b bytes.Buffer
		fmt.Fprintf(show.Guard{W: &b}, "%s", data)
		var got string
		if err := json.Unmarshal(b.Bytes(), &got); err != nil || got != strings.ToValidUTF8(value, "\uFFFD") {
			t.Fatalf("%q became %q (%v)", value, got, err)
		}
	})
}

// TestError: what Errorf made keeps its lines, also inside of others' words; what
// others say begins none, and errors side by side are a line each.
func TestError(t *testing.T) {
	t.Parallel()
	cause := errors.New("refused\nmigrate: all is well")
	own := show.Errorf(cause, "cp1 says: %v; look with:\n  ssh %s", cause, "cp1\nrm")
	if !errors.Is(own, cause) {
		t.Error("the cause is lost")
	}
	mine := "cp1 says: refused\n" + show.Continued + "migrate: all is well; look with:\n  ssh cp1\n" + show.Continued + "rm"
	for _, c := range []struct {
		err  error
		want string
	}{
		{cause, "refused\n" + show.Continued + "migrate: all is well"},
		{own, mine},
		{fmt.Errorf("step x\ny: %w (and\nz)", own), "step x\n" + show.Continued + "y: " + mine + " (and\n" + show.Continued + "z)"},
		{errors.Join(errors.New("one"), nil, cause), "one\nrefused\n" + show.Continued + "migrate: all is well"},
		{fmt.Errorf("two: %w", errors.Join(errors.New("one"), errors.New("another"))), "two: one\n" + show.Continued + "another"},
	} {
		if got := string(show.Sprintf("%v", c.err)); got != c.want {
			t.Errorf("%q is shown as\n%q instead of\n%q", c.err, got, c.want)
		}
	}
}
