package overlap

import (
	"context"
	"fmt"

	"hamigrate/migrate/kube"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
)

// temporaryAnswers proves from every path that the temporary API server answers
// (or, with want false, that it does not any more).
func temporaryAnswers(ctx context.Context, v phases.Reader, want bool) error {
	cfg, err := temporaryConfig(ctx, v)
	if err != nil {
		return err
	}
	own, err := temporaryAddress(ctx, v)
	if err != nil {
		return err
	}
	identify, temporary, err := apiserver.Identify(ctx, cfg, own)
	if err != nil {
		return err
	}
	paths, err := apiserver.Paths(ctx, v, v.Target())
	if err != nil {
		return err
	}
	return apiserver.Expect{
		Node:     v.Target(),
		Identify: identify,
		May:      func(_ apiserver.Path, identity string) bool { return (identity == temporary) == want },
	}.OnEach(ctx, v, paths)
}

// temporaryReachable opens a connection to the temporary API server's own port
// along every path: a firewall between the hosts may know the API's port only,
// and behind the redirect all clients would find out at once.
func temporaryReachable(ctx context.Context, v phases.Reader) error {
	paths, err := apiserver.Paths(ctx, v, v.Target())
	if err != nil {
		return err
	}
	address, err := temporaryAddress(ctx, v)
	if err != nil {
		return err
	}
	return apiserver.EachPath(paths, func(p apiserver.Path) error {
		if p.Pod {
			return nil // it is let through to the Service and to nothing else
		}
		if _, err := kube.ServedCertificate(ctx, p.Dialer(v), address, nil); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		return nil
	})
}

// oneStore proves that what is written through the temporary API server is there
// for the real one.
func oneStore(ctx context.Context, v phases.Reader) error {
	temporary, err := temporaryConfig(ctx, v)
	if err != nil {
		return err
	}
	real, err := apiserver.Config(ctx, v, v.Target())
	if err != nil {
		return err
	}
	return kube.WriteAndReadThere(ctx, temporary, real, checkName)
}
