package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/phases"
	"hamigrate/state"

	"github.com/urfave/cli/v2"
)

func adoptCommand() *cli.Command {
	return &cli.Command{
		Name:   "adopt",
		Before: noWords,
		Usage:  "rebuild a lost journal from the cluster, and say what can't be known any more",
		Description: "Checks every step of every phase and reads the copies that each step left on the first\n" +
			"control-plane node of what was there before it. Changes nothing but the journal, which must\n" +
			"not be there yet, or be without a record. Afterwards run, status and report go on from it, and\n" +
			"rollback takes back what is known. What is not known stands in the last column.\n\n" + exitStatus,
		Flags:  append(commonFlags(), strategyFlag(), outputFlag("text", "json")),
		Action: looking(adoptAction),
	}
}

// adoption is what `migrate adopt -o json` prints.
type adoption struct {
	Journal string            `json:"journal"`
	Steps   []migrate.Adopted `json:"steps"`
	// Unknown is what can't be known of the migration as a whole.
	Unknown []string `json:"unknown"`
}

func adoptAction(c *cli.Context) error {
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	a, err := adopt(c.Context, s, strategyOf(c))
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		enc := json.NewEncoder(c.App.Writer)
		enc.SetIndent("", "  ")
		return enc.Encode(a)
	}
	return printAdoption(c.App.Writer, s, a)
}

// adopt builds the journal beside its place and moves it there when it is
// whole: killed before that, there is none, and it begins anew.
func adopt(ctx context.Context, s *session, strategy phases.Strategy) (a adoption, err error) {
	// One that is damaged is there as well: it may be mended, or read by others.
	blank, err := state.Blank(s.journal, state.Options{Tool: version})
	damaged := errors.As(err, new(*state.FormatError))
	if err != nil && !damaged {
		return a, err
	}
	if damaged || !blank {
		return a, fmt.Errorf("the journal %s is there: adopt is for one that is lost. `migrate status` shows it; name another file with --journal, or move a damaged one away", s.journal)
	}
	if err := nobodyAtWork(ctx, s); err != nil {
		return a, err
	}
	from, err := evidence(ctx, s)
	if err != nil {
		return a, err
	}
	list, strategy := phasesOf(from.Traces, strategy)
	j, err := state.Rebuild(s.journal, state.Options{Tool: version})
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	id, kubernetes, err := planIdentity(ctx, s)
	if err != nil {
		return a, err
	}
	if err := describeCluster(ctx, s, j, id, kubernetes, strategy); err != nil {
		return a, err
	}
	a = adoption{Journal: s.journal, Unknown: []string{
		"when each step was done, what it took, and what clients saw meanwhile",
		"steps that were begun and had left nothing behind: a run does them again",
	}}
	for _, p := range list {
		steps, err := migrate.Adopt(ctx, s.world, p, from, j)
		if err != nil {
			return a, err
		}
		a.Steps = append(a.Steps, steps...)
	}
	if len(from.Traces) == 0 {
		a.Unknown = append(a.Unknown, fmt.Sprintf("what of this was done by migrate: %s keeps no record of it, so what is done counts as found so, and rollback leaves it alone", s.spec.ControlPlane.First.Name))
	}
	return a, j.Install(s.journal)
}

// nobodyAtWork refuses while another run is alive: what is seen would be the
// middle of a step.
func nobodyAtWork(ctx context.Context, s *session) error {
	api, err := s.world.View(migrate.ClusterTarget).Kube(ctx)
	if err != nil {
		return err
	}
	holder, err := api.Operator(ctx)
	if err != nil || holder == nil || holder.Free() {
		return err
	}
	if held := (&heldError{*holder, time.Now()}); !held.Stale() {
		return held
	}
	return nil
}

func evidence(ctx context.Context, s *session) (migrate.Adoption, error) {
	traces, err := s.world.Traces(ctx)
	return migrate.Adoption{Traces: traces, Ours: s.world.Ours, Spec: s.spec.Fingerprint}, err
}

// phasesOf are the phases with the strategy that the traces were begun with;
// the one asked for where they do not tell.
func phasesOf(traces []migrate.Trace, asked phases.Strategy) ([]phases.Phase, phases.Strategy) {
	declared := declaredPhases()
	for _, t := range traces {
		if t.Phase < 1 || t.Phase > len(declared) {
			continue
		}
		if s := phases.StrategyOf(declared[t.Phase-1].BegunBy(t)); s != "" {
			return allPhases(s), s
		}
	}
	return allPhases(asked), asked
}

func printAdoption(w io.Writer, s *session, a adoption) error {
	t := tabular.New(w, "phase", "step", "on", "now in the journal", "what can't be known")
	back, stays, left := 0, 0, 0
	for _, s := range a.Steps {
		t.Add(s.Phase, s.Title, s.Target, s.Status, s.Unknown)
		switch {
		case s.Unknown != "":
			stays++
		case s.Status.Touched():
			back++
		case s.Status == state.Pending:
			left++
		}
	}
	t.Render()
	show.Fprintf(w, "\n%s: %d steps were ours and have their state of before again; %d were ours and can't be taken back by command; %d are to be done.\nNot known any more:\n",
		a.Journal, back, stays, left)
	for _, u := range a.Unknown {
		show.Fprintf(w, "  - %s\n", u)
	}
	_, err := show.Fprintf(w, "Nothing was changed in the cluster. Next: %s\n", s.next("status"))
	return err
}
