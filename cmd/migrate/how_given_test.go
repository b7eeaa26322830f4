package main

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestTheNextCommandGoesLikeTheLast: the flags that were given are in it, but
// for those that have a place of their own.
func TestTheNextCommandGoesLikeTheLast(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"":                                       "",
		"-f x.yaml --phase 2 --strategy overlap": " --strategy overlap",
		"-y -o json --probe-rate 0":              " --output json --probe-rate 0",
		"--strategy in-place --max-unavailable 90s --no-backup --wait-backend 1h --ignore-preflight Memory --ignore-preflight Swap": " --strategy in-place --ignore-preflight Memory,Swap --wait-backend 1h0m0s --no-backup --max-unavailable 1m30s",
	} {
		got := "the command did not begin"
		command := runCommand()
		command.Action = func(c *cli.Context) error { got = howGiven(c); return nil }
		app := &cli.App{Name: "migrate", Commands: []*cli.Command{command}}
		if err := app.Run(append([]string{"migrate", "run"}, strings.Fields(given)...)); err != nil || got != want {
			t.Errorf("%q: %q, want %q, error %v", given, got, want, err)
		}
	}
}
