package within

import (
	"strings"
	"testing"
	"time"
)

// TestBeyond: each bound is seen when it is passed, and by its name.
func TestBeyond(t *testing.T) {
	for name, test := range map[string]struct {
		begin func(used) used
		want  string
	}{
		"within":                       {func(u used) used { return u }, ""},
		"memory":                       {func(u used) used { u.memory -= maxMemory + 1<<20; return u }, "it allocated 257 MiB"},
		"processor":                    {func(u used) used { u.processor -= 3 * time.Second; u.at = u.at.Add(-3 * time.Second); return u }, "of a processor"},
		"many processors for a moment": {func(u used) used { u.processor -= 3 * time.Second; return u }, ""},
		"a busy machine":               {func(u used) used { u.at = u.at.Add(-3 * time.Second); return u }, ""},
		"a wait":                       {func(u used) used { u.at = u.at.Add(-2 * time.Minute); return u }, "it took 2m0"},
	} {
		if got := test.begin(now()).beyond(); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
