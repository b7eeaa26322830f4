package main

import (
	_ "embed" // the completion scripts
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

//go:embed completion/migrate.bash
var bashCompletion string

//go:embed completion/_migrate
var zshCompletion string

// completionCommand prints what makes a shell complete commands and flags.
func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		ArgsUsage: "bash|zsh|fish",
		Usage:     "print what makes a shell complete commands and flags",
		Description: "For the shell at hand:\n\n" +
			"   source <(migrate completion bash)\n" +
			"   source <(migrate completion zsh)\n" +
			"   migrate completion fish | source\n\n" +
			"For all to come, write it to /etc/bash_completion.d/migrate, to a file _migrate in a folder\n" +
			"of zsh's $fpath, or to ~/.config/fish/completions/migrate.fish.\n\n" + exitStatus,
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 1 {
				return fmt.Errorf("`migrate completion` takes one word: bash, zsh or fish")
			}
			return writeCompletion(c.App.Writer, c.App, c.Args().First())
		},
	}
}

func writeCompletion(w io.Writer, app *cli.App, shell string) error {
	text := ""
	switch shell {
	case "bash":
		text = bashCompletion
	case "zsh":
		text = zshCompletion
	case "fish":
		var err error
		if text, err = app.ToFishCompletion(); err != nil {
			return fmt.Errorf("writing the completion for fish: %w", err)
		}
		text = strings.ReplaceAll(text, "`", "") // they mark the words for values
	default:
		return fmt.Errorf("there is no completion for %q: it is there for bash, zsh and fish", shell)
	}
	_, err := io.WriteString(w, strings.TrimRight(text, "\n")+"\n")
	return err
}
