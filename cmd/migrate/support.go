package main

import "github.com/urfave/cli/v2"

func supportCommand() *cli.Command { return &cli.Command{Name: "support"} }
