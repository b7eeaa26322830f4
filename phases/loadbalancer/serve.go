package loadbalancer

import (
	"context"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/balancers"
)

// steps are those of all kinds of load balancers, each once.
func steps() []phases.Step {
	var out []phases.Step
	for _, b := range balancers.All() {
		for _, s := range b.Steps {
			if s.ID == b.Serves {
				s = serves(s)
			}
			s.When = balancers.When(b)
			out = append(out, s)
		}
		if b.Configured() {
			proof := endpoint(b.Serves)
			proof.When = balancers.When(b)
			out = append(out, proof)
		}
	}
	return out
}

// serves is the step of a load balancer from which on it answers at the
// endpoint, with what concerns the endpoint's clients. Before it, it is written
// down who names the endpoint already; no client is to meet a certificate
// without the endpoint's name. On the way back nobody may follow the endpoint
// any more when it ends.
func serves(s phases.Step) phases.Step {
	check, apply, undo := s.Check, s.Apply, s.Undo
	s.Needs = append([]migrate.StepID{servingCertificateID}, s.Needs...)
	s.Check = func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
		f, err := check(ctx, v)
		if err != nil || f.Verdict != migrate.Needed {
			return f, err
		}
		if f.Before == nil {
			f.Before = migrate.Before{}
		}
		if err := noteNamed(ctx, v, f.Before); err != nil {
			return migrate.Finding{}, err
		}
		return f, nil
	}
	s.Apply = func(ctx context.Context, h phases.Writer, before migrate.Before) error {
		if err := keepName(ctx, h, before); err != nil {
			return err
		}
		return apply(ctx, h, before)
	}
	s.Undo = func(ctx context.Context, h phases.Writer, before migrate.Before) error {
		if err := leaveEndpoint(ctx, h, before); err != nil {
			return err
		}
		if err := undo(ctx, h, before); err != nil {
			return err
		}
		return forgetName(ctx, h)
	}
	return s
}
