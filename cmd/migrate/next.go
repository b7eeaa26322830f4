package main

import (
	"github.com/urfave/cli/v2"
)

// givenFlags is where an App keeps them for whoever prints an error.
const givenFlags = "flags that name the cluster"

// remember keeps the flags that name the cluster, for the commands in an error.
func remember(c *cli.Context) error {
	c.App.Metadata[givenFlags] = flagsGiven(c)
	return nil
}

func remembered(app *cli.App) string {
	flags, _ := app.Metadata[givenFlags].(string)
	return flags
}
