package balancer

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/phases"
)

const (
	// countedConnections are held from each node where addresses and ports are
	// translated between, and counted on the load balancers.
	countedConnections = 12
	// countedNoise is how many of them may be missing in a count: others open and
	// close connections of their own meanwhile. It is a third of one node's, so
	// that no node whose connections go elsewhere is hidden by it.
	countedNoise = countedConnections / 3
	// A proof are so many rounds that agree, of at most so many. nginx may still
	// be closing what was held before the first.
	countedRounds, countedTries = 2, 3
	// fallsWithin is how long nginx may take to close its ends.
	fallsWithin = 5 * time.Second
)

// counted is the proof where no end can be told from the others: the number of
// connections on the load balancers rises with those that are held, and falls
// with them, again and again. Many nodes hold theirs at once, since a round takes
// seconds; where the sum is not right they do one by one. It returns an error for
// each node whose connections are missing; without every, the first one's is the
// last that is looked for. Others who look at the same time would be counted, too:
// it has to be alone.
func counted(ctx context.Context, v phases.Reader, nodes []string, roots *x509.CertPool, every bool) []error {
	missing := make([]error, 0, len(nodes))
	for group := range slices.Chunk(nodes, heldAtOnce/countedConnections) {
		each := make([]error, len(group))
		if err := countedFrom(ctx, v, group, roots); len(group) == 1 {
			each[0] = err
		} else if err != nil {
			for i, node := range group {
				if each[i] = countedFrom(ctx, v, []string{node}, roots); each[i] != nil && !every {
					break
				}
			}
		}
		missing = append(missing, each...)
		if !every && slices.ContainsFunc(each, failed) {
			break
		}
	}
	return append(missing, make([]error, len(nodes)-len(missing))...)
}

func failed(err error) bool { return err != nil }

// NotRisenError: all was counted, and the connections are not among those of the
// load balancers. Any other error says nothing of where they go.
type NotRisenError struct{ Text string }

func (e NotRisenError) Error() string { return e.Text }

// countedFrom wants enough rounds to agree.
func countedFrom(ctx context.Context, v phases.Reader, nodes []string, roots *x509.CertPool) error {
	good, last := 0, error(nil)
	for try := range countedTries {
		if good+countedTries-try < countedRounds {
			break
		}
		err := countedOnce(ctx, v, nodes, roots)
		switch {
		case ctx.Err() != nil:
			return err
		case err != nil:
			last = err
		default:
			good++
		}
		if good == countedRounds {
			return nil
		}
	}
	return last
}

// countedOnce is one rise and one fall.
func countedOnce(ctx context.Context, v phases.Reader, nodes []string, roots *x509.CertPool) error {
	count := func() (int, error) {
		all, err := balancedSockets(ctx, v)
		return len(all), err
	}
	before, err := count()
	if err != nil {
		return err
	}
	letGo := make([]func(), len(nodes))
	end := func() {
		for i, f := range letGo {
			if f != nil {
				f()
			}
			letGo[i] = nil
		}
	}
	defer end()
	err = parallel.Each(nodes, func(i int, node string) (err error) {
		letGo[i], err = keepConnections(ctx, v, node, roots, countedConnections)
		return err
	})
	if err != nil {
		return err
	}
	during, err := count()
	if err != nil {
		return err
	}
	held := countedConnections * len(nodes)
	if during < before+held-countedNoise {
		return NotRisenError{fmt.Sprintf("with %d more of them held there are %d there, and were %d", held, during, before)}
	}
	end()
	return phases.Await(ctx, v, fallsWithin, func(context.Context) error {
		after, err := count()
		if err == nil && after > during-(held-countedNoise) {
			err = errors.New("those that were held have ended, and are not missing there")
		}
		return err
	})
}
