package run

import (
	"context"

	"hamigrate/migrate"
	"hamigrate/migrate/lease"
	"hamigrate/state"
)

// takeLease takes the Lease for a command of this program, and renews it until Release.
// *lease.HeldError: another operator has it.
func takeLease(ctx context.Context, s *Session, j *state.Journal, command string, tell func(string)) (*lease.Lease, error) {
	me, err := lease.HolderOf(s.Journal, j, "migrate "+command)
	if err != nil {
		return nil, err
	}
	api, err := s.Access.Writer(migrate.ClusterTarget).Kube(ctx)
	if err != nil {
		return nil, err
	}
	return lease.Take(ctx, api, me, tell)
}
