package run

import (
	"context"
	"errors"
	"fmt"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/lease"
	"hamigrate/phases"
	"hamigrate/phases/migration"
	"hamigrate/state"
)

// Adoption is what `migrate adopt -o json` prints.
type Adoption struct {
	Journal string            `json:"journal"`
	Steps   []migrate.Adopted `json:"steps"`
	// Unknown is what can't be known of the migration as a whole.
	Unknown []string `json:"unknown"`
}

// Adopt builds the journal beside its place and moves it there when it is
// whole: killed before that, there is none, and it begins again.
func Adopt(ctx context.Context, s *Session, strategy phases.Strategy) (a Adoption, err error) {
	// One that is damaged is there as well: it may be mended, or read by others.
	blank, err := state.Blank(s.Journal, state.Options{Tool: s.tool})
	damaged := errors.As(err, new(*state.FormatError))
	if err != nil && !damaged {
		return a, err
	}
	if damaged || !blank {
		return a, fmt.Errorf("the journal %s is there: adopt is for one that is lost. `migrate status` shows it; name another file with --journal, or move a damaged one away", s.Journal)
	}
	if err := nobodyAtWork(ctx, s); err != nil {
		return a, err
	}
	from, err := evidence(ctx, s)
	if err != nil {
		return a, err
	}
	list, strategy := phasesOf(s.Spec, from.PreImages, strategy)
	j, err := state.Rebuild(s.Journal, state.Options{Tool: s.tool})
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	id, kubernetes, err := identity(ctx, s)
	if err != nil {
		return a, err
	}
	if err := describeCluster(ctx, s, j, id, kubernetes, strategy); err != nil {
		return a, err
	}
	a = Adoption{Journal: s.Journal, Unknown: []string{
		"when each step was done, what it took, and what clients saw meanwhile",
		"steps that were begun and had left nothing behind: a run does them again",
	}}
	for _, p := range list {
		steps, err := migrate.Adopt(ctx, s.Access, p, from, j)
		if err != nil {
			return a, err
		}
		a.Steps = append(a.Steps, steps...)
	}
	if len(from.PreImages) == 0 {
		a.Unknown = append(a.Unknown, fmt.Sprintf("what of this was done by migrate: %s keeps no record of it, so what is done counts as found so, and rollback leaves it alone", s.Spec.ControlPlane.First.Name))
	}
	return a, j.Install(s.Journal)
}

// nobodyAtWork refuses while another run is alive: what is seen would be the
// middle of a step.
func nobodyAtWork(ctx context.Context, s *Session) error {
	api, err := s.Access.Reader(migrate.ClusterTarget).Kube(ctx)
	if err != nil {
		return err
	}
	holder, err := api.Operator(ctx)
	if err != nil || holder == nil || holder.Free() {
		return err
	}
	if held := lease.Held(*holder); !held.Stale() {
		return held
	}
	return nil
}

func evidence(ctx context.Context, s *Session) (migrate.Adoption, error) {
	traces, err := s.Access.PreImages(ctx)
	return migrate.Adoption{PreImages: traces, Ours: s.Access.Ours, Spec: s.Spec.Fingerprint}, err
}

// phasesOf are the phases with the strategy that the traces were begun with;
// the one asked for where they do not tell.
func phasesOf(spec cluster.Spec, traces []migrate.PreImage, asked phases.Strategy) ([]phases.Phase, phases.Strategy) {
	declared := migration.Declared()
	for _, t := range traces {
		if t.Phase < 1 || t.Phase > len(declared) {
			continue
		}
		if s := phases.StrategyOf(declared[t.Phase-1].BegunBy(t)); s != "" {
			return migration.Of(spec, s), s
		}
	}
	return migration.Of(spec, asked), asked
}
