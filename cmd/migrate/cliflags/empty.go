package cliflags

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
)

// notEmpty refuses a flag or a word that is there and empty: in a script it is a
// variable that was not set, and must not mean what leaving it out means. foreign
// says of which commands the words are another program's.
func notEmpty(c *cli.Context, foreign func(*cli.Command) bool) error {
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
	if foreign(c.Command) || hasSubcommands(c.Command) {
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

// hasSubcommands says whether a command's words are those of a subcommand, which
// looks itself.
func hasSubcommands(c *cli.Command) bool {
	return slices.ContainsFunc(c.Subcommands, func(sub *cli.Command) bool { return sub.Name != "help" })
}
