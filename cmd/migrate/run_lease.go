package main

import (
	"context"

	"hamigrate/migrate"
	"hamigrate/state"
)

// holdCluster takes the Lease for a command of this program, and renews it until end.
// *heldError: another operator has it.
func holdCluster(ctx context.Context, s *session, j *state.Journal, command string, tell func(string)) (*hold, error) {
	me, err := operatorOf(s.journal, j, "migrate "+command)
	if err != nil {
		return nil, err
	}
	api, err := s.world.Hands(migrate.ClusterTarget).Kube(ctx)
	if err != nil {
		return nil, err
	}
	return takeHold(ctx, api, me, tell)
}
