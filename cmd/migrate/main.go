// Command migrate makes a kubeadm cluster with one control-plane node highly
// available while it runs. See README.md; each command explains itself with
// --help.
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate/commandlog"
	"hamigrate/migrate/console"
	"hamigrate/migrate/run"
	"hamigrate/migrate/runlog"
	"hamigrate/migrate/show"

	"github.com/urfave/cli/v2"
	"k8s.io/klog/v2"
)

// version is set by the Makefile (-ldflags -X main.version=…).
var version = "dev"

func main() {
	libraries()
	os.Exit(execute(os.Args))
}

// libraries keeps libraries from printing on their own: client-go and net/http log
// what an API server says, raw, between the lines of ours. What counts of it comes
// back as an error.
func libraries() {
	klog.SetLogger(klog.Logger{}) // without a sink; SetOutput alone leaves errors on stderr
	log.SetOutput(io.Discard)
}

func execute(args []string) int {
	app := newApp()
	// A shell asks with flags that are half typed. urfave/cli v2.27.7 dies of
	// one it does not know when it may be several short ones (parseIter returns
	// no flag set, and checkCompletions reads it).
	if args[len(args)-1] == cliflags.Completing {
		app.UseShortOptionHandling = false
	}
	// The exit code is decided in one place, from the error itself.
	app.ExitErrHandler = func(*cli.Context, error) {}
	err := runOnce(app, args)
	tellError(app, err)
	code := int(run.OutcomeOf(err))
	keptLogOf(app).End(code, err)
	return code
}

// tellError prints the sentence of an error that nobody was told yet.
func tellError(app *cli.App, err error) {
	if err != nil && !isSilent(err) {
		show.Fprintf(app.ErrWriter, "migrate: %s\n", console.Lines(err, remembered(app)))
	}
}

// runOnce runs a command line in which nothing is said twice.
func runOnce(app *cli.App, args []string) error {
	if args[len(args)-1] != cliflags.Completing {
		if err := cliflags.GivenTwice(app, args[1:]); err != nil {
			return err
		}
	}
	return app.Run(args)
}

// noWords refuses arguments of commands that take only flags.
func noWords(c *cli.Context) error {
	if c.Args().Present() {
		return fmt.Errorf("`%s` takes no word %q: flags begin with a dash, the spec is named with --file", c.Command.HelpName, c.Args().First())
	}
	return nil
}

func newApp() *cli.App {
	commands := cliflags.Strict([]*cli.Command{
		initCommand(), preflightCommand(), auditCommand(), planCommand(), runCommand(), rollbackCommand(), statusCommand(), verifyCommand(), certsCommand(),
		reportCommand(), playbookCommand(), sudoersCommand(), unlockCommand(), adoptCommand(),
		rehearseCommand(), benchCommand(), playgroundCommand(), backupCommand(), restoreCommand(),
		logCommand(), supportCommand(),
		completionCommand(), manCommand(), versionCommand(),
		probeAgentCommand(), restoreMemberCommand(),
	}, remember, func(cmd *cli.Command) bool { return cmd.Name == "ssh" })
	log := commandlog.New(os.Stderr, os.Args, version)
	return &cli.App{
		Name:                   "migrate",
		Usage:                  "make a kubeadm cluster with one control-plane node highly available, while it runs",
		Version:                version,
		Writer:                 newOutput(os.Stdout, runlog.Out, log),
		ErrWriter:              newOutput(os.Stderr, runlog.Err, log),
		Metadata:               map[string]any{keptLogKey: log},
		Flags:                  commonFlags(),
		UseShortOptionHandling: true,
		EnableBashCompletion:   true,
		Description: "The migration has three phases: a load balancer in front of the API (1), etcd on hosts\n" +
			"of its own (2), two more control-plane nodes (3). Practise it first: migrate rehearse.\n" +
			"Then: migrate init root@HOST writes migrate.yaml (docs/spec.md); migrate preflight, migrate plan,\n" +
			"migrate run.\n\n" + exitStatus,
		OnUsageError: cliflags.UsageError,
		Action:       cliflags.UnknownCommand(commands, func(c *cli.Context) error { return cli.ShowAppHelp(c) }),
		Commands:     commands,
	}
}
