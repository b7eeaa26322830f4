package main

import (
	"errors"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate/console"
	"hamigrate/migrate/rehearsal"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"

	"github.com/urfave/cli/v2"
)

func planCommand() *cli.Command {
	return &cli.Command{
		Name:   "plan",
		Before: noWords,
		Usage:  "look at the cluster and show what run would do; change nothing",
		Description: "Every step is checked against the cluster as it is: what is done already, what would\n" +
			"change, as diffs, and how long the API would be away. Secrets are shown as digests.\n" +
			"The checks of `migrate preflight` that only look are done as well: what would keep a run\n" +
			"from beginning a phase is shown below its steps.\n" +
			"--out saves the plan: `migrate run FILE` then does that, or refuses and shows what is\n" +
			"different by then.\n\n" + exitStatus,
		Flags: append(commonFlags(), phaseFlag(), strategyFlag(), cliflags.Output("text", "json", "yaml"),
			ignoreFlag("ignore-preflight"),
			&cli.StringFlag{Name: "out", Usage: "save the plan to `FILE`, for `migrate run FILE`"},
			&cli.StringSliceFlag{Name: "limit", Usage: "show only what is done on `HOST`; cluster is the cluster's objects"},
			&cli.BoolFlag{Name: "detailed-exitcode", Usage: "exit with 2 when there is something to do, or with --rollback to undo"},
			&cli.BoolFlag{Name: "rollback", Usage: "show what rollback would undo"}),
		Action: looking(planAction),
	}
}

func planAction(c *cli.Context) error {
	limit := c.StringSlice("limit")
	if c.String("out") != "" && (c.Bool("rollback") || len(limit) > 0) {
		return errors.New("--out saves a whole plan: leave out --limit and --rollback")
	}
	if c.Bool("rollback") && len(limit) > 0 {
		return errors.New("--limit shows a part of the way forward: leave it out with --rollback, which shows what is undone in its order")
	}
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.Close()
	o := run.PlanOptions{Limit: limit}
	o.Strategy, o.Chosen, o.Phase, o.Ignore = strategyOf(c), c.IsSet("strategy"), c.Int("phase"), c.StringSlice("ignore-preflight")
	if c.Bool("rollback") {
		return planBackAction(c, s, o.Options)
	}
	tellProbeFits(c)
	known, err := rehearsal.Last(s.Journal)
	if err != nil {
		return err
	}
	o.Expected = known.Expected
	p, err := run.Plan(c.Context, s, o)
	if err != nil {
		return err
	}
	if err := console.PrintPlan(c.App.Writer, p.Plans, c.String("output"), len(limit) == 0 && o.Phase == 0); err != nil {
		return err
	}
	if c.String("output") == "text" && run.Pending(p.Plans) > 0 {
		show.Fprintln(c.App.Writer, known.Say(rehearsalFlagsOf(c, s), rehearsal.Run{Spec: s.Spec, Phases: o.List(s.Spec), Kubernetes: p.Kubernetes, Tool: version}))
	}
	if p.Blocked != nil {
		return p.Blocked
	}
	if file := c.String("out"); file != "" {
		if err := writePlan(file, ownFilesOf(s), run.NewSavedPlan(s, p.Cluster, p.Kubernetes, o.Strategy, o.Phase, o.List(s.Spec), p.Whole)); err != nil {
			return err
		}
		show.Fprintf(c.App.ErrWriter, "Saved: %s. `migrate run%s %s` does this, and nothing else.\n", file, flagsGiven(c), remote.Quote(file))
	}
	if c.Bool("detailed-exitcode") && run.Pending(p.Plans) > 0 {
		return run.ErrChangesPending
	}
	return nil
}

// planBackAction shows the way back.
func planBackAction(c *cli.Context, s *run.Session, o run.Options) error {
	list, err := run.PlanRollback(c.Context, s, o)
	if err != nil {
		return err
	}
	if err := console.WriteBack(c.App.Writer, list, c.String("output")); err != nil || !c.Bool("detailed-exitcode") {
		return err
	}
	return run.BackStatus(list)
}
