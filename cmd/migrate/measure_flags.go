package main

import (
	"fmt"
	"os"
	"time"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate/measure"
	"hamigrate/migrate/nodeprobe"
	"hamigrate/migrate/show"
	"hamigrate/phases"

	"github.com/urfave/cli/v2"
)

// measuringFlags are those of commands that probe the API while they work.
func measuringFlags(rate float64, quiet time.Duration) []cli.Flag {
	return []cli.Flag{
		cliflags.Time(cli.DurationFlag{Name: "max-unavailable", DefaultText: "0s, and " + measure.InPlaceSlack.String() + " with --strategy in-place",
			Usage: "stop at the next safe point when the API is away for `TIME` longer than the step at hand announced; 0s: when a single request fails"}),
		cliflags.Rate(cli.Float64Flag{Name: "probe-rate", Value: rate, Usage: "probe the API with `N` requests a second for each path and kind; 0: do not probe"}),
		cliflags.Time(cli.DurationFlag{Name: "quiet", Value: quiet, Usage: "measure for `TIME` what clients see before anything is changed"}),
	}
}

// measuringOf reads the flags.
func measuringOf(c *cli.Context, tell func(string)) measure.How {
	m := measure.How{Rate: c.Float64("probe-rate"), Quiet: c.Duration("quiet"), Most: c.Duration("max-unavailable"), Tell: tell, Agent: probeAgentName}
	if !c.IsSet("max-unavailable") && strategyOf(c) == phases.InPlace {
		m.Most = measure.InPlaceSlack
	}
	return m
}

// teller prints a line for a person.
func teller(c *cli.Context) func(string) {
	return func(message string) { show.Fprintln(c.App.ErrWriter, time.Now().UTC().Format("15:04:05Z ")+message) }
}

// probeFits is asked before anything is changed, where copies of this program
// are to probe the API from pods.
func probeFits(c *cli.Context) error {
	if c.Float64("probe-rate") == 0 {
		return nil
	}
	file, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	return nodeprobe.StandsAlone(file)
}

// tellProbeFits is for commands that only look ahead.
func tellProbeFits(c *cli.Context) {
	if file, err := os.Executable(); err == nil {
		if err := nodeprobe.StandsAlone(file); err != nil {
			show.Fprintf(c.App.ErrWriter, "migrate run will refuse: %v\n", err)
		}
	}
}
