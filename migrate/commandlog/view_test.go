package commandlog

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"hamigrate/migrate/runlog"
)

// countedWrites counts what is written, and how often.
type countedWrites struct {
	text   strings.Builder
	writes int
	broken bool // a write ended within a character
}

func (c *countedWrites) Write(p []byte) (int, error) {
	c.writes++
	c.broken = c.broken || !utf8.Valid(p)
	return c.text.Write(p)
}

// TestALongLogIsShownInFewWrites, all of it, or only what the last command said.
func TestALongLogIsShownInFewWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.log")
	f, err := runlog.Open(path, runlog.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	const lines = 5000
	for run := range 2 {
		write := func(e runlog.Entry) {
			t.Helper()
			e.At, e.Run = time.Now().UTC(), fmt.Sprint(run)
			if err := f.Write(e); err != nil {
				t.Fatal(err)
			}
		}
		write(runlog.Entry{Kind: runlog.Begin, Begun: &runlog.Begun{Command: "migrate run"}})
		for range lines {
			write(runlog.Entry{Kind: runlog.Out, Text: "✓ done"})
			if err := f.Append([]byte("junk\n")); err != nil {
				t.Fatal(err)
			}
			if err := f.Append([]byte("junk\n")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for all, want := range map[bool]int{true: 2 * lines, false: lines} {
		var w countedWrites
		if _, err := (View{All: all, W: &w}).Print(path); err != nil {
			t.Fatal(err)
		}
		text := w.text.String()
		if got := strings.Count(text, "| ✓ done\n"); got != want || w.writes > len(text)/pageBytes+1 || w.broken {
			t.Errorf("all %v: %d lines of %d in %d writes", all, got, want, w.writes)
		}
		if got := strings.Count(text, "? 2 lines that are no entries of the log, the first: junk\n"); all && got != 2*lines {
			t.Errorf("%d times junk", got)
		}
	}
}
