package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate/initlook"
	"hamigrate/migrate/initspec"
	"hamigrate/migrate/inputfile"
	"hamigrate/migrate/inventory"
	"hamigrate/migrate/outputfile"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"

	"github.com/urfave/cli/v2"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:      "init",
		Usage:     "look at a cluster and write a spec file for it, with blanks for what is yours to choose",
		ArgsUsage: "[USER@]HOST[:PORT]",
		Description: "HOST is the control-plane node. It is reached as ssh reaches it (docs/ssh.md) and looked at;\n" +
			"nothing is changed. What is true of the cluster is filled in, and what is not there yet, the\n" +
			"load balancer, the etcd hosts and the new control-plane nodes, is a blank with a comment.\n" +
			"An inventory of Ansible's fills in more: its hosts are matched with the Nodes by address. Without\n" +
			"HOST the first host of its control-plane group is looked at. A file that is there is never overwritten. Flags stand before HOST.\n\n" + exitStatus,
		Flags: append(initFlags(), cliflags.Output("text", "json"),
			&cli.StringFlag{Name: "inventory", Aliases: []string{"i"}, Usage: "an Ansible inventory `FILE` or folder: INI, YAML, or what ansible-inventory --list prints"}),
		Action: looking(initAction),
	}
}

// initFlags are the common ones that mean something before there is a spec.
func initFlags() []cli.Flag {
	return slices.DeleteFunc(commonFlags(), func(f cli.Flag) bool { return f.Names()[0] == flagJournal })
}

func initAction(c *cli.Context) error {
	file := specFile(c)
	if file == inputfile.Stdin {
		return errors.New("`migrate init` writes the spec, and not to standard output: name a file with --file")
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return initlook.ErrThere(file)
	}
	if _, err := outputfile.Check(flagFile, file, outputfile.Own{}); err != nil {
		return err
	}
	log, err := logger(c)
	if err != nil {
		return err
	}
	var groups *initspec.Groups
	name := c.String("inventory")
	if name != "" {
		inv, err := inventory.Read(c.Context, name)
		if err != nil {
			return err
		}
		groups = initlook.Groups(inv)
		if len(inv.ControlPlane) == 0 && c.Args().Len() == 0 {
			return initlook.Failed(c.App.ErrWriter, groups, inv.WithoutControlPlane(againWithHost(c, name)))
		}
	}
	// The log is where that of all later commands on this cluster is. That there is
	// no spec in the end is what it is read for.
	keepLog(c, run.JournalBeside(file))
	ssh := sshOptions(c, log)
	ssh.NoSpec = true
	if c.Args().Len() > 1 {
		return initlook.Failed(c.App.ErrWriter, groups, fmt.Errorf("`migrate init` takes one host, and there is %q behind it: flags stand before the host, as in `migrate init --file FILE root@HOST`", c.Args().Get(1)))
	}
	found, choice, err := initlook.Look(c.Context, ssh, c.Args().First(), groups)
	if err != nil {
		return initlook.Failed(c.App.ErrWriter, groups, err)
	}
	if err := context.Cause(c.Context); err != nil {
		return err // what was asked last may be missing
	}
	return writeSpec(c, file, found, choice)
}

// againWithHost is the command that was given, to which a host is to be added.
func againWithHost(c *cli.Context, inventory string) string {
	flag := ""
	if file := cliflags.String(c, flagFile); file != "" && file != "migrate.yaml" {
		flag = " --file " + remote.Quote(file)
	}
	return "migrate init" + flag + " -i " + remote.Quote(inventory) + " "
}

// writeSpec writes the file, unless one is there by now, and tells.
func writeSpec(c *cli.Context, file string, found initspec.Found, choice initspec.Choice) error {
	r, err := initlook.Create(file, found, choice)
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		return show.WriteJSON(c.App.Writer, r)
	}
	return initlook.Print(c.App.Writer, r)
}
