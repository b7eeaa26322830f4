package cliflags

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// UsageError makes one sentence of a wrong flag: help on stdout would end up
// in whatever the output is piped to.
func UsageError(c *cli.Context, err error, _ bool) error {
	name := c.Command.HelpName
	if name == "" {
		name = c.App.Name
	}
	return fmt.Errorf("%w; `%s --help` lists the flags", inOurWords(c, err), name)
}

// The parser's own words (flag.FlagSet). They have one dash for any name, and tell
// nobody what a value looks like.
var (
	noSuchFlag = regexp.MustCompile(`^flag provided but not defined: -(.*)$`)
	noValue    = regexp.MustCompile(`^flag needs an argument: -(.*)$`)
	wrongValue = regexp.MustCompile(`(?s)^invalid (?:boolean )?value "(.*)" for (?:flag )?-([a-z-]+): .*$`)
)

// inOurWords is what the parser says of a flag, in words that help.
func inOurWords(c *cli.Context, err error) error {
	text := err.Error()
	if m := noSuchFlag.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("there is no flag %s", dashed(m[1]))
	}
	if m := noValue.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s needs a value: write %s", dashed(m[1]), valueOf(c, m[1]))
	}
	m := wrongValue.FindStringSubmatch(text)
	switch {
	case m == nil:
		return err
	case m[1] == "":
		return fmt.Errorf("%s %s", dashed(m[2]), emptyAs)
	}
	return fmt.Errorf("%s %s: write %s", dashed(m[2]), shown(m[1]), valueOf(c, m[2]))
}

// emptyAs is why an empty value is refused.
const emptyAs = "is given and empty, perhaps from an unset variable in a script: write a value, or leave it out"

// dashed is a flag as people write it.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + strings.TrimPrefix(name, "-")
}

// valueOf says what a flag takes.
func valueOf(c *cli.Context, name string) string {
	var flags []cli.Flag
	for _, level := range c.Lineage() {
		if level.Command != nil {
			flags = append(flags, level.Command.Flags...)
		}
	}
	flags = append(flags, c.App.Flags...)
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	if i < 0 {
		return "one behind it"
	}
	switch flags[i].(type) {
	case *cli.DurationFlag:
		return "a time such as 30s, 90m or 2h"
	case *cli.IntFlag, *cli.Int64Flag, *cli.UintFlag:
		return "a whole number"
	case *cli.Float64Flag:
		return "a number"
	case *cli.BoolFlag:
		return "it alone, or true or false behind a ="
	}
	return "one behind it"
}
