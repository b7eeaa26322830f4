package cliflags

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// newApp is a command line with a flag of each kind, and what it was called with.
func newApp(called *string) *cli.App {
	action := func(c *cli.Context) error {
		*called = c.Command.HelpName + " " + String(c, "file") + " " + strings.Join(c.Args().Slice(), ",")
		return nil
	}
	commands := Strict([]*cli.Command{
		{
			Name: "copy", Action: action,
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "file", Aliases: []string{"f"}}, &cli.StringSliceFlag{Name: "host"},
				&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}}, &cli.IntFlag{Name: "part", Aliases: []string{"p"}},
				Time(cli.DurationFlag{Name: "wait", Value: time.Second}), Rate(cli.Float64Flag{Name: "rate"}), Output("text", "json"),
			},
		},
		{Name: "shell", Action: action},
		{Name: "store", Subcommands: []*cli.Command{{Name: "remove", Action: action}}},
	}, func(*cli.Context) error { return nil }, func(c *cli.Command) bool { return c.Name == "shell" })
	app := &cli.App{
		Name: "tool", Writer: io.Discard, ErrWriter: io.Discard, UseShortOptionHandling: true, Commands: commands,
		Flags: []cli.Flag{&cli.StringFlag{Name: "file", Aliases: []string{"f"}}}, OnUsageError: UsageError,
		Action: UnknownCommand(commands, func(*cli.Context) error { return nil }),
	}
	app.ExitErrHandler = func(*cli.Context, error) {}
	return app
}

// TestNothingTypedIsIgnored: what is given once and has a value is done; all else is
// an error that says what it is about.
func TestNothingTypedIsIgnored(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]struct{ called, err string }{
		"copy|a":                              {called: "tool copy  a"},
		"-f|x|copy":                           {called: "tool copy x "},
		"copy|-f|x|-yp|3|--host|a|--host|b|a": {called: "tool copy x a"},
		"copy|--yes|--yes":                    {called: "tool copy  "},
		"shell|":                              {called: "tool shell  "},
		"copy|-f|x|--file|y":                  {err: "--file is given twice, with x and with y: write it once"},
		"-f|x|copy|-f|x":                      {err: "--file is given twice, with x and with x: write it once"},
		"copy|--part|1|-yp|2":                 {err: "--part is given twice, with 1 and with 2: write it once"},
		"copy|--file|":                        {err: "--file is given and empty, perhaps from an unset variable in a script: write a value, or leave it out"},
		"-f||copy":                            {err: "--file is given and empty"},
		"copy|--host|":                        {err: "--host is given and empty"},
		"copy|":                               {err: "word 1 of `tool copy` is empty"},
		"copy|--fiel|x":                       {err: "there is no flag --fiel; `tool copy --help` lists the flags"},
		"copy|--part":                         {err: "--part needs a value: write a whole number"},
		"copy|--part|many":                    {err: "--part many: write a whole number"},
		"copy|--wait|soon":                    {err: "--wait soon: write a time such as 30s, 90m or 2h"},
		"copy|--wait|-1s":                     {err: "--wait -1s: a time is 0 or more"},
		"copy|--rate|NaN":                     {err: "--rate NaN: a rate is 0 or more"},
		"copy|--output|xml":                   {err: "--output xml: write one of text, json"},
		"cpoy":                                {err: `there is no command "cpoy". Did you mean "copy"?`},
		"unlike":                              {err: `there is no command "unlike"`},
		"store|remov":                         {err: `there is no command "remov". Did you mean "remove"?`},
	} {
		called, args := "", append([]string{"tool"}, strings.Split(line, "|")...)
		app := newApp(&called)
		err := GivenTwice(app, args[1:])
		if err == nil {
			err = app.Run(args)
		}
		if want.err == "" && (err != nil || called != want.called) || want.err != "" && (err == nil || !strings.HasPrefix(err.Error(), want.err) || called != "") {
			t.Errorf("%s: called %q, error %v; want %+v", line, called, err, want)
		}
	}
}
