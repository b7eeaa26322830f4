package main

import (
	"time"

	"hamigrate/migrate/show"
	"hamigrate/phases"

	"github.com/urfave/cli/v2"
)

// inPlaceSlack is by how much the seconds that a plan announces for an edit
// in place may be exceeded before a run is stopped.
const inPlaceSlack = 30 * time.Second

// measuringFlags are those of commands that probe the API while they work.
func measuringFlags(rate float64, quiet time.Duration) []cli.Flag {
	return []cli.Flag{
		timeFlag(cli.DurationFlag{Name: "max-unavailable", DefaultText: "0s, and " + inPlaceSlack.String() + " with --strategy in-place",
			Usage: "stop at the next safe point when the API is away for `TIME` longer than the step at hand announced; 0s: when a single request fails"}),
		rateFlag(cli.Float64Flag{Name: "probe-rate", Value: rate, Usage: "probe the API with `N` requests a second for each path and kind; 0: do not probe"}),
		timeFlag(cli.DurationFlag{Name: "quiet", Value: quiet, Usage: "measure for `TIME` what clients see before anything is changed"}),
	}
}

// measuringOf reads the flags.
func measuringOf(c *cli.Context, tell func(string)) measuring {
	m := measuring{rate: c.Float64("probe-rate"), quiet: c.Duration("quiet"), most: c.Duration("max-unavailable"), tell: tell}
	if !c.IsSet("max-unavailable") && strategyOf(c) == phases.InPlace {
		m.most = inPlaceSlack
	}
	return m
}

// teller prints a line for a person.
func teller(c *cli.Context) func(string) {
	return func(message string) { show.Fprintln(c.App.ErrWriter, time.Now().UTC().Format("15:04:05Z ")+message) }
}
