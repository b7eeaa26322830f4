package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"hamigrate/migrate/rehearsal"
	"hamigrate/migrate/show"
	"hamigrate/phases"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Before: noWords,
		Usage: "rehearse both strategies one after the other and compare what clients saw",
		Description: "Builds a fresh playground for `in-place` and another one for `overlap`, migrates each under\n" +
			"the same probe, prints one table and writes the JSON. Exit status 1 when a figure is not\n" +
			"as it should be: with overlap not one request of at least 20,000 may fail.\n\n" + exitStatus,
		Flags: append(rehearsalFlags("bench", benchRate), &cli.StringFlag{Name: "report", Value: "out/bench.json", Usage: "write the figures as JSON to `FILE`"}),
		Action: func(c *cli.Context) error {
			if err := errors.Join(checkReport(c), probeFits(c)); err != nil {
				return err
			}
			r := rehearsal.Bench{At: time.Now().UTC()}
			for _, strategy := range []phases.Strategy{phases.InPlace, phases.Overlap} {
				how := measuringOf(c, teller(c))
				// It is to be measured, not to be stopped.
				how.Most = time.Hour
				how.Tell(fmt.Sprintf("strategy %s", strategy))
				one, err := rehearseOne(c, strategy, how, rehearsalOptions(c), false)
				if one != nil {
					r.Strategies = append(r.Strategies, *one)
				}
				if err != nil {
					return err
				}
			}
			r.Checks = rehearsal.Checks(r.Strategies[0], r.Strategies[1])
			show.Fprintln(c.App.Writer)
			rehearsal.PrintBench(c.App.Writer, r)
			return errors.Join(keepReport(c, r), rehearsal.FailedChecks(r.Checks))
		},
	}
}
