package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"hamigrate/migrate/console"
	"hamigrate/migrate/playground"
	"hamigrate/migrate/show"
)

// playgroundCommand is `migrate playground`: practice clusters on this very
// machine.
func playgroundCommand() *cli.Command {
	return &cli.Command{
		Name:  "playground",
		Usage: "make and remove practice clusters on this machine",
		Description: "A playground is a real kubeadm cluster with one control-plane node and two workers,\n" +
			"a load balancer that is in use already, and the hosts to migrate onto: each a\n" +
			"systemd-nspawn machine with an address, systemd and sshd of its own.\n\n" +
			"EXIT STATUS\n   0 done, 1 error, 130 interrupted; that of the command for ssh.",
		Subcommands: []*cli.Command{
			playgroundUp(), playgroundStatus(), playgroundSSH(), playgroundPower("stop", "cut a host's power; its disk stays",
				(*playground.Playground).StopHost),
			playgroundPower("start", "switch a stopped host on again", (*playground.Playground).StartHost),
			playgroundDown(),
		},
	}
}

// playgroundFlags say which playground is meant.
func playgroundFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "name", Value: playground.DefaultName, Usage: "the playground's `NAME`; several can be up side by side"},
		&cli.StringFlag{Name: "dir", Value: playground.DefaultDir, Usage: "`FOLDER` of the playgrounds, on a real disk"},
	}, more...)
}

func playgroundUp() *cli.Command {
	return &cli.Command{
		Name:  "up",
		Usage: "make a playground, or check and complete the one that is there",
		Flags: playgroundFlags(
			&cli.StringFlag{Name: "kubernetes", Usage: "`VERSION` of the cluster", DefaultText: playground.DefaultKubernetes},
			&cli.StringFlag{Name: "bin", Usage: "use the ready-made binaries in `FOLDER` instead of building them"},
			&cli.StringFlag{Name: "cache", Value: playground.DefaultCacheDir, Usage: "`FOLDER` of what is kept between playgrounds"},
			&cli.StringFlag{Name: "profile", Value: playground.ProfileClean, Usage: "`clean|veteran`: as kubeadm makes a cluster, or as years and several engineers leave it"},
			&cli.StringFlag{Name: "etcd-listen", Usage: "where etcd listens: `host|localhost`; localhost also stores a localhost peer URL", DefaultText: "host; localhost with --profile veteran"},
			&cli.IntFlag{Name: "workers", Value: playground.DefaultWorkers, Usage: "`NUMBER` of workers"},
			&cli.StringFlag{Name: "sudo-user", Usage: "hosts take no root login, but that of `USER`, who has passwordless sudo"},
			&cli.BoolFlag{Name: "spare", Usage: "one more host that is ready to join as a worker"},
			&cli.BoolFlag{Name: "hardened", Usage: "give the API server an audit policy and encryption at rest"},
			&cli.IntFlag{Name: "objects", Usage: "fill the cluster with `NUMBER` ConfigMaps and Secrets; 30000 make 200 MB in etcd"},
		),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, ""); err != nil {
				return err
			}
			o := playground.Options{
				Name: c.String("name"), Dir: c.String("dir"), CacheDir: c.String("cache"),
				Kubernetes: c.String("kubernetes"), BinDir: c.String("bin"), Profile: c.String("profile"), EtcdListen: c.String("etcd-listen"),
				Workers: c.Int("workers"), SudoUser: c.String("sudo-user"), Spare: c.Bool("spare"), Hardened: c.Bool("hardened"),
				Objects: c.Int("objects"),
			}
			if o.Workers == 0 {
				o.Workers = -1 // 0 asks for the default
			}
			// The first Ctrl-C ends `up` in order, a second one at once.
			ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
			context.AfterFunc(ctx, stop)
			p, err := playground.Up(ctx, o, console.PlaygroundEvents(c.App.ErrWriter))
			if err != nil {
				return explainUp(c, err)
			}
			show.Fprintf(c.App.ErrWriter, "playground %s is up. Its spec file, known_hosts, kubeconfig and SSH key are in %s\nNext: migrate plan -f %s\n",
				c.String("name"), p.Dir(), p.SpecFile())
			return nil
		},
	}
}

// explainUp adds to an error of `up` what to do about what is there by now.
func explainUp(c *cli.Context, err error) error {
	p, openErr := playground.Open(c.String("dir"), c.String("name"), nil)
	if mistake := new(playground.UserError); openErr != nil || errors.As(err, &mistake) {
		return err
	}
	again := "makes it again"
	if p.Complete() {
		again = "with the same options goes on with it"
	}
	return fmt.Errorf("%w; what is there so far is in %s: `migrate playground down --name %s` removes it, `up` %s",
		err, p.Dir(), c.String("name"), again)
}

func playgroundStatus() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "show a playground's hosts",
		Flags: playgroundFlags(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "text", Usage: "`text|json`"}),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, ""); err != nil {
				return err
			}
			p, err := openPlayground(c)
			if err != nil {
				return err
			}
			s, err := p.Status(c.Context)
			if err != nil {
				return err
			}
			switch c.String("output") {
			case "json":
				return show.WriteJSON(c.App.Writer, s)
			case "text":
				return console.PrintPlayground(c.App.Writer, s)
			default:
				return fmt.Errorf("-o %s is unknown: say text or json", c.String("output"))
			}
		},
	}
}

func playgroundSSH() *cli.Command {
	return &cli.Command{
		Name:      "ssh",
		Usage:     "log in to a host, or run a command there",
		ArgsUsage: "HOST [COMMAND...]",
		Flags:     playgroundFlags(),
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return errors.New("no host named: migrate playground ssh HOST [COMMAND...]")
			}
			p, err := openPlayground(c)
			if err != nil {
				return err
			}
			command := c.Args().Tail()
			if len(command) > 0 && command[0] == "--" { // as people write it before a command
				command = command[1:]
			}
			words, err := p.SSH(c.Args().First(), command...)
			if err != nil {
				return err
			}
			client, err := exec.LookPath(words[0])
			if err != nil {
				return errors.New("no ssh client here: apt-get install -y openssh-client")
			}
			// It takes our place: terminal, signals and exit status are its own.
			return syscall.Exec(client, words, os.Environ())
		},
	}
}

// playgroundPower is `stop` or `start`.
func playgroundPower(name, usage string, do func(*playground.Playground, context.Context, string) error) *cli.Command {
	return &cli.Command{
		Name:      name,
		Usage:     usage,
		ArgsUsage: "HOST",
		Flags:     playgroundFlags(),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, "HOST"); err != nil {
				return err
			}
			p, err := openPlayground(c)
			if err != nil {
				return err
			}
			return do(p, c.Context, c.Args().First())
		},
	}
}

func playgroundDown() *cli.Command {
	return &cli.Command{
		Name:  "down",
		Usage: "remove a playground with everything it made; the cache stays",
		Flags: playgroundFlags(),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, ""); err != nil {
				return err
			}
			p, err := playground.Open(c.String("dir"), c.String("name"), console.PlaygroundEvents(c.App.ErrWriter))
			if errors.Is(err, playground.ErrNotFound) {
				show.Fprintf(c.App.ErrWriter, "there is no playground %s: nothing to do\n", c.String("name"))
				return nil
			}
			if err != nil {
				return err
			}
			return p.Down(c.Context)
		},
	}
}

// openPlayground finds the playground the flags mean; the error for a wrong
// name says which there are.
func openPlayground(c *cli.Context) (*playground.Playground, error) {
	p, err := playground.Open(c.String("dir"), c.String("name"), console.PlaygroundEvents(c.App.ErrWriter))
	if !errors.Is(err, playground.ErrNotFound) {
		return p, err
	}
	names, listErr := playground.List(c.String("dir"))
	if listErr != nil || len(names) == 0 {
		return nil, fmt.Errorf("there is no playground %s: run `migrate playground up` first", c.String("name"))
	}
	return nil, fmt.Errorf("there is no playground %s: say --name %s", c.String("name"), strings.Join(names, " or --name "))
}

// wantArgs checks how many words follow the flags. A flag after them is not
// seen as one, so that is said.
func wantArgs(c *cli.Context, n int, usage string) error {
	if c.NArg() == n {
		return nil
	}
	for _, a := range c.Args().Slice() {
		if strings.HasPrefix(a, "-") {
			return fmt.Errorf("%s comes too late: write flags before %s", a, usage)
		}
	}
	if usage == "" {
		return fmt.Errorf("%q is too much: %s takes flags only", c.Args().First(), c.Command.FullName())
	}
	return fmt.Errorf("%s takes %s and nothing else", c.Command.FullName(), usage)
}
