package cliflags

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// Time is a flag for a time, which is never negative: a guard would be off.
func Time(f cli.DurationFlag) cli.Flag {
	f.Action = func(_ *cli.Context, d time.Duration) error {
		if d < 0 {
			return fmt.Errorf("--%s %s: a time is 0 or more, such as 30s", f.Name, d)
		}
		return nil
	}
	return &f
}

// Rate is a flag for a number a second: none that is negative, infinite or no
// number.
func Rate(f cli.Float64Flag) cli.Flag {
	f.Action = func(_ *cli.Context, n float64) error {
		if !(n >= 0) || math.IsInf(n, 1) {
			return fmt.Errorf("--%s %g: a rate is 0 or more, such as 2", f.Name, n)
		}
		return nil
	}
	return &f
}

// Output is --output, for one of these formats; the first one is the default.
func Output(formats ...string) cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: formats[0], Usage: "`FORMAT`: " + strings.Join(formats, " or "),
		Action: func(_ *cli.Context, v string) error {
			if !slices.Contains(formats, v) {
				return fmt.Errorf("--output %s: write one of %s", v, strings.Join(formats, ", "))
			}
			return nil
		}}
}

// String reads a flag that may stand before or after the command's name.
func String(c *cli.Context, name string) string {
	for _, level := range c.Lineage() {
		if level.IsSet(name) {
			return level.String(name)
		}
	}
	return ""
}

// Bool reads a switch that may stand before or after the command's name.
func Bool(c *cli.Context, name string) bool {
	return slices.ContainsFunc(c.Lineage(), func(level *cli.Context) bool { return level.Bool(name) })
}
