package main

import (
	"fmt"
	"slices"
	"strings"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate/remote"

	"github.com/urfave/cli/v2"
)

// flagsGiven repeats the flags that name the cluster, for the next command.
func flagsGiven(c *cli.Context) string {
	var out string
	for _, name := range []string{flagFile, flagJournal} {
		if v := cliflags.String(c, name); v != "" {
			out += fmt.Sprintf(" --%s %s", name, remote.Quote(v))
		}
	}
	return out
}

// howGiven repeats the flags that say how a run or a rollback goes, as far as
// they were given: the next one is to go like it. That it asks before each phase
// does no harm after a stop.
func howGiven(c *cli.Context) string {
	var out string
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		if !c.IsSet(name) || slices.Contains([]string{flagFile, flagJournal, "phase", "plan", "yes"}, name) {
			continue
		}
		switch f.(type) {
		case *cli.BoolFlag:
			if c.Bool(name) {
				out += " --" + name
			}
		case *cli.StringSliceFlag:
			out += " --" + name + " " + remote.Quote(strings.Join(c.StringSlice(name), ","))
		default:
			out += " --" + name + " " + remote.Quote(fmt.Sprint(c.Value(name)))
		}
	}
	return out
}
