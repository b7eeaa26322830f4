package cliflags

import (
	"fmt"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// Strict makes every command say what it does not understand: a word that is
// no flag would else be ignored, with every flag after it; what is empty would
// mean what leaving it out means. before is done by each command before its own
// Before; foreign says of which commands the words are another program's.
func Strict(commands []*cli.Command, before cli.BeforeFunc, foreign func(*cli.Command) bool) []*cli.Command {
	for _, cmd := range commands {
		cmd.OnUsageError = UsageError
		own := cmd.Before
		cmd.Before = func(c *cli.Context) error {
			if err := notEmpty(c, foreign); err != nil {
				return err
			}
			if err := before(c); err != nil || own == nil {
				return err
			}
			return own(c)
		}
		if len(cmd.Subcommands) > 0 && cmd.Action == nil {
			cmd.Action = UnknownCommand(cmd.Subcommands, cli.ShowSubcommandHelp)
		}
		Strict(cmd.Subcommands, before, foreign)
	}
	return commands
}

// UnknownCommand is the action of what only has subcommands: help, without a word.
func UnknownCommand(commands []*cli.Command, help cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		word := c.Args().First()
		if word == "" {
			return help(c)
		}
		meant := ""
		if name := nearestCommand(commands, word); name != "" {
			meant = fmt.Sprintf(". Did you mean %q?", name)
		}
		return fmt.Errorf("there is no command %q%s", word, meant)
	}
}

// nearestCommand is the command that was probably meant, "" where none is like the
// word. What is hidden is for programs, and never meant.
func nearestCommand(commands []*cli.Command, word string) string {
	// The first two as urfave/cli has them (suggestions.go); below the last one, words
	// have a few letters in common and nothing else.
	const boost, prefix, alike = 0.7, 4, 0.82
	best, name := alike, ""
	for _, c := range commands {
		if near := smetrics.JaroWinkler(c.Name, word, boost, prefix); !c.Hidden && near > best {
			best, name = near, c.Name
		}
	}
	return name
}
