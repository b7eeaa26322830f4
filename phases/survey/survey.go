// Package survey goes through the hosts of a cluster for those who only look:
// preflight, verify and the inventory of certificates. What is looked for, and what
// becomes of it, is theirs.
package survey

import (
	"context"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/phases"
)

// atOnce bounds how many hosts are looked at at the same time: each is a connection
// and a session of this machine's.
const atOnce = 24

// Target is a host with what it is to the cluster, or the cluster as a whole
// (migrate.ClusterTarget, migrate.Once).
type Target struct {
	Name string
	Role migrate.Selector
}

// Unlisted is the error of a role whose hosts could not be listed: workers that the
// spec does not name are asked of the API server.
type Unlisted struct {
	Role migrate.Selector
	Err  error
}

func (u Unlisted) Error() string { return u.Err.Error() }

func (u Unlisted) Unwrap() error { return u.Err }

// Hosts lists the hosts of the roles, in their order. Each role has limit for it; one
// that could not be listed is in the second result, and the others are listed all the
// same.
func Hosts(ctx context.Context, access *phases.Access, limit time.Duration, roles ...migrate.Selector) ([]Target, []Unlisted) {
	var out []Target
	var unlisted []Unlisted
	for _, role := range roles {
		limited, cancel := context.WithTimeout(ctx, limit)
		names, err := access.Targets(limited, role)
		cancel()
		if err != nil {
			unlisted = append(unlisted, Unlisted{role, err})
		}
		for _, n := range names {
			out = append(out, Target{n, role})
		}
	}
	return out, unlisted
}

// Visit calls look for each of the targets, some of them at once, and returns when all
// have returned. look logs in first, without a deadline: that may ask for a password.
func Visit(targets []Target, look func(Target)) {
	_ = parallel.Limited(atOnce, targets, func(_ int, t Target) error {
		look(t)
		return nil
	})
}
