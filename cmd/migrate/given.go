package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
)

// notEmpty refuses a flag or a word that is there and empty: in a script it is a
// variable that was not set, and must not mean what leaving it out means, for
// `run` everything and without a plan.
func notEmpty(c *cli.Context) error {
	for _, level := range c.Lineage() { // flags may stand before the command, too
		if level.Command == nil {
			continue
		}
		for _, f := range level.Command.Flags {
			if name := f.Names()[0]; level.IsSet(name) && givenEmpty(level, f, name) {
				return fmt.Errorf("%s %s", dashed(name), emptyAs)
			}
		}
	}
	if othersWords(c.Command) {
		return nil
	}
	for i, word := range c.Args().Slice() {
		if word == "" {
			return fmt.Errorf("word %d of `%s` is empty, perhaps from an unset variable in a script: write a value, or leave it out", i+1, c.Command.HelpName)
		}
	}
	return nil
}

func givenEmpty(c *cli.Context, f cli.Flag, name string) bool {
	switch f.(type) {
	case *cli.StringFlag:
		return c.String(name) == ""
	case *cli.StringSliceFlag:
		return slices.Contains(c.StringSlice(name), "")
	}
	return false
}

// othersWords says whether a command's words are those of another program, or of
// a subcommand, which looks itself.
func othersWords(c *cli.Command) bool {
	return c.Name == "ssh" || slices.ContainsFunc(c.Subcommands, func(sub *cli.Command) bool { return sub.Name != "help" })
}

// first does one thing before another, which may be nil.
func first(before, then cli.BeforeFunc) cli.BeforeFunc {
	return func(c *cli.Context) error {
		if err := before(c); err != nil || then == nil {
			return err
		}
		return then(c)
	}
}

// timeFlag is a flag for a time, which is never negative: a guard would be off.
func timeFlag(f cli.DurationFlag) cli.Flag {
	f.Action = func(_ *cli.Context, d time.Duration) error {
		if d < 0 {
			return fmt.Errorf("--%s %s: a time is 0 or more, such as 30s", f.Name, d)
		}
		return nil
	}
	return &f
}

// rateFlag is a flag for a number a second: none that is negative, infinite or no
// number.
func rateFlag(f cli.Float64Flag) cli.Flag {
	f.Action = func(_ *cli.Context, n float64) error {
		if !(n >= 0) || math.IsInf(n, 1) {
			return fmt.Errorf("--%s %g: a rate is 0 or more, such as 2", f.Name, n)
		}
		return nil
	}
	return &f
}
