package main

import (
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// givenTwice refuses a flag that takes one value and is given twice, before or
// after the command's name: the last one would win, and `run --phase 1 --phase 2`
// is no run of two phases. The parser tells nobody how often a flag was there, so
// the flags are parsed once more, by the same package. Whatever else is wrong with
// them is left to the first parser, which says it well.
func givenTwice(app *cli.App, args []string) error {
	flags, commands := app.Flags, app.Commands
	given := map[string]string{} // by the flag's first name, over all levels
	for {
		set := flag.NewFlagSet("", flag.ContinueOnError)
		set.SetOutput(io.Discard)
		var twice error
		for _, f := range flags {
			if err := f.Apply(set); err != nil {
				return nil
			}
			if takesSeveral(f) {
				continue
			}
			for _, name := range f.Names() {
				one := set.Lookup(name)
				one.Value = &once{Value: one.Value, name: f.Names()[0], given: given, twice: &twice}
			}
		}
		err := set.Parse(args)
		if twice != nil {
			return twice
		}
		if err != nil || set.NArg() == 0 {
			return nil
		}
		command := commandOf(commands, set.Arg(0))
		if command == nil {
			return nil
		}
		flags, commands, args = command.Flags, command.Subcommands, set.Args()[1:]
	}
}

func commandOf(commands []*cli.Command, word string) *cli.Command {
	for _, c := range commands {
		if c.HasName(word) {
			return c
		}
	}
	return nil
}

func takesSeveral(f cli.Flag) bool {
	_, several := f.(cli.DocGenerationSliceFlag)
	return several && f.(cli.DocGenerationSliceFlag).IsSliceFlag()
}

// once is the value of a flag that notices when it is set again.
type once struct {
	flag.Value
	name  string
	given map[string]string
	twice *error
}

// Set implements flag.Value.
func (o *once) Set(text string) error {
	before, there := o.given[o.name]
	// A switch that is there twice, and means the same, harms nobody.
	if there && *o.twice == nil && (before != text || !o.IsBoolFlag()) {
		*o.twice = fmt.Errorf("--%s is given twice, with %s and with %s: write it once", o.name, shown(before), shown(text))
	}
	o.given[o.name] = text
	return o.Value.Set(text)
}

// IsBoolFlag tells the parser which flags are switches.
func (o *once) IsBoolFlag() bool {
	b, ok := o.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

func shown(text string) string {
	if text == "" || strings.ContainsAny(text, " \t\n") {
		return fmt.Sprintf("%q", text)
	}
	return text
}
