package main

import (
	"hamigrate/cmd/migrate/cliflags"

	"github.com/urfave/cli/v2"
)

// manCommand prints the manual, made from the commands themselves.
func manCommand() *cli.Command {
	return &cli.Command{
		Name:   "man",
		Before: noWords,
		Usage:  "print the manual page; --markdown prints the same as docs/cli.md",
		Description: "   migrate man | man -l -\n" +
			"   migrate man > /usr/local/share/man/man8/migrate.8\n\n" + exitStatus,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "markdown", Usage: "as Markdown"}},
		Action: func(c *cli.Context) error {
			if c.Bool("markdown") {
				return manualOf(c.App).Markdown(c.App.Writer)
			}
			return manualOf(c.App).Man(c.App.Writer)
		},
	}
}

// manualOf is the manual: the page for man, and docs/cli.md.
func manualOf(app *cli.App) cliflags.Manual {
	return cliflags.Manual{App: app, Exit: exitStatus, Intro: "Made from the commands themselves by `make generate`: do not edit it by hand. `migrate man | man -l -` shows the\n" +
		"same, and `migrate COMMAND --help` the part on one command. `source <(migrate completion bash)` completes commands\n" +
		"and flags; zsh and fish have it too."}
}
