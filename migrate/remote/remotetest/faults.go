package remotetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"hamigrate/migrate/remote"
)

// ErrCrashed stands for the death of the operator's program: a fault with
// this error makes everything after it fail too, until Restart.
var ErrCrashed = errors.New("the operator's program crashed")

// ErrCut stands for a connection that is cut in an operation and can be made
// again at once. A Host does what may be done twice again, comes back for a
// detached command, and has this error for any other command.
var ErrCut = fmt.Errorf("cut: %w", remote.ErrUnknownOutcome)

// When is the side of an operation's effect on which a fault strikes.
type When int

// Before: the operation has no effect. After: it has its full effect, and the
// caller gets the error all the same.
const (
	Before When = iota
	After
)

// Faults counts the changing operations of one Fake, or of several that share
// it, and fails the chosen ones. It is safe for concurrent use.
type Faults struct {
	mu      sync.Mutex
	ops     []string
	planned map[int]fault
	crashed bool
	cuts    int
}

type fault struct {
	when When
	err  error
}

// NewFaults returns Faults with nothing planned.
func NewFaults() *Faults { return &Faults{planned: map[int]fault{}} }

// FailAt makes the n-th changing operation, counted from 1 since NewFaults,
// fail with err, once. With ErrCrashed everything after it fails too.
func (f *Faults) FailAt(n int, when When, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.planned[n] = fault{when, err}
}

// Restart ends a crash and forgets the faults that have not struck. The log
// and the count go on.
func (f *Faults) Restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashed = false
	clear(f.planned)
}

// Ops is the log of changing operations that were asked for, those that
// failed included.
func (f *Faults) Ops() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ops)
}

// Lost is how many connections were cut so far.
func (f *Faults) Lost() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cuts
}

// Alive returns ErrCrashed after a crash. Reads ask it.
func (f *Faults) Alive() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return ErrCrashed
	}
	return nil
}

// Do counts and logs one changing operation and does it, unless a fault
// strikes. Fakes of other things (etcd, the API server) use it to take part
// in the same count.
func (f *Faults) Do(op string, do func() error) error {
	strike, err := f.begin(op)
	if err != nil {
		return err
	}
	if strike == nil {
		return do()
	}
	defer f.end(strike.err) // after the effect, which may ask Alive
	if strike.when == After {
		do() //nolint:errcheck // the caller learns of the fault only
	}
	return strike.err
}

// begin logs op and returns the fault planned for it.
func (f *Faults) begin(op string) (*fault, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return nil, ErrCrashed
	}
	f.ops = append(f.ops, op)
	strike, ok := f.planned[len(f.ops)]
	if !ok {
		return nil, nil
	}
	delete(f.planned, len(f.ops))
	if errors.Is(strike.err, ErrCut) {
		f.cuts++
	}
	return &strike, nil
}

// end makes a crash last.
func (f *Faults) end(err error) {
	if errors.Is(err, ErrCrashed) {
		f.mu.Lock()
		f.crashed = true
		f.mu.Unlock()
	}
}
