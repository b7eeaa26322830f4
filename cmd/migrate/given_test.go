package main

import (
	"math"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// TestAmountsAreChecked: there is no flag for a time or a rate that takes less
// than nothing.
func TestAmountsAreChecked(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	var look func(string, []cli.Flag, []*cli.Command)
	look = func(of string, flags []cli.Flag, commands []*cli.Command) {
		for _, f := range flags {
			switch f := f.(type) {
			case *cli.DurationFlag:
				seen[f.Name] = true
				if f.Action == nil || f.Action(nil, -time.Nanosecond) == nil || f.Action(nil, 0) != nil || f.Action(nil, time.Hour) != nil {
					t.Errorf("%s --%s takes a negative time, or refuses one that is none", of, f.Name)
				}
			case *cli.Float64Flag:
				seen[f.Name] = true
				if f.Action == nil || f.Action(nil, -1) == nil || f.Action(nil, math.NaN()) == nil || f.Action(nil, math.Inf(1)) == nil || f.Action(nil, 0) != nil || f.Action(nil, 2) != nil {
					t.Errorf("%s --%s takes a negative rate or no number, or refuses one", of, f.Name)
				}
			}
		}
		for _, c := range commands {
			look(of+" "+c.Name, c.Flags, c.Subcommands)
		}
	}
	app := newApp()
	look(app.Name, app.Flags, app.Commands)
	for _, name := range []string{"max-unavailable", "probe-rate", "quiet", "wait-backend"} {
		if !seen[name] {
			t.Errorf("no command has --%s", name)
		}
	}
}
