package cliflags

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// GivenTwice refuses a flag that takes one value and is given twice, before or
// after the command's name: the last one would win, and `run --phase 1 --phase 2`
// is no run of two phases. The parser tells nobody how often a flag was there, so
// the flags are parsed once more, by the same package. Whatever else is wrong with
// them is left to the first parser, which says it well.
func GivenTwice(app *cli.App, args []string) error {
	flags, commands := app.Flags, app.Commands
	given := map[string]string{} // by the flag's first name, over all levels
	for {
		words, err := onceAt(flags, args, given)
		if err != nil || len(words) == 0 {
			return err
		}
		command := commandOf(commands, words[0])
		if command == nil {
			return nil
		}
		flags, commands, args = command.Flags, command.Subcommands, words[1:]
	}
}

// onceAt parses the flags before a command's words, and returns those.
func onceAt(flags []cli.Flag, args []string, given map[string]string) ([]string, error) {
	for {
		var twice error
		here := maps.Clone(given)
		set := flag.NewFlagSet("", flag.ContinueOnError)
		set.SetOutput(io.Discard)
		for _, f := range flags {
			if err := f.Apply(set); err != nil {
				return nil, nil
			}
			for _, name := range f.Names() {
				if one := set.Lookup(name); !takesSeveral(f) {
					one.Value = &once{Value: one.Value, name: f.Names()[0], given: here, twice: &twice}
				}
			}
		}
		err := set.Parse(args)
		switch apart := splitShort(set, args, err); {
		case twice != nil:
			return nil, twice
		case err == nil:
			maps.Copy(given, here)
			return set.Args(), nil
		case apart == nil:
			return nil, nil
		default:
			args = apart
		}
	}
}

// splitShort takes -yp apart into -y and -p, as urfave/cli does (parse.go,
// parseIter); nil where the error is not about that.
func splitShort(set *flag.FlagSet, args []string, err error) []string {
	if err == nil {
		return nil
	}
	word, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: ")
	at := slices.Index(args, word)
	if !unknown || at < 0 || len(word) < 3 {
		return nil
	}
	var apart []string
	for _, letter := range word[1:] {
		if set.Lookup(string(letter)) == nil {
			return nil
		}
		apart = append(apart, "-"+string(letter))
	}
	return slices.Concat(args[:at], apart, args[at+1:])
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
	several, ok := f.(cli.DocGenerationSliceFlag)
	return ok && several.IsSliceFlag()
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

// shown is a value as it is told: quoted where that is needed to see it.
func shown(text string) string {
	if quoted := fmt.Sprintf("%q", text); text == "" || strings.Contains(text, " ") || quoted != `"`+text+`"` {
		return quoted
	}
	return text
}
