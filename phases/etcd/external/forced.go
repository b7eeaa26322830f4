package external

import (
	"context"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/etcdconfig"
)

// notForced is Blocked where the old member's next start would make a cluster
// of its own. Preflight says so as well, and can be told to let it pass: this
// can't.
func notForced(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	trouble, err := etcdconfig.ForcesNewCluster(ctx, v)
	if err != nil || trouble == nil {
		return migrate.Finding{}, err
	}
	return phases.Block(trouble.Remedy, "%s", trouble.Seen), nil
}
