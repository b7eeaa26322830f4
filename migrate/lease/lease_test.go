package lease

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
)

// leaseCluster is a cluster's API that can be away.
type leaseCluster struct {
	kube.Client
	mu   sync.Mutex
	away bool
}

func newLeaseCluster() *leaseCluster {
	api := fake.NewSimpleClientset()
	c := &leaseCluster{Client: kube.NewClient(api)}
	api.PrependReactor("*", "leases", func(ktesting.Action) (bool, runtime.Object, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.away {
			return true, nil, errors.New("connection refused")
		}
		return false, nil, nil
	})
	return c
}

func (c *leaseCluster) goAway(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
}

// operatorNamed is one run of somebody's.
func operatorNamed(who, run string) kube.Operator {
	return kube.Operator{ID: "journal of " + who, Run: run, Who: who, Journal: "/home/" + who + "/migrate.journal", Command: "migrate run", Since: time.Now(), Lasts: leaseLasts}
}

// saying collects what the operator is told.
type saying struct {
	mu    sync.Mutex
	lines []string
}

func (s *saying) tell(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, text)
}

func (s *saying) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func mustHold(t *testing.T, c *leaseCluster, me kube.Operator, said *saying) *Lease {
	t.Helper()
	h, err := Take(t.Context(), c, me, said.tell)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func isLost(h *Lease) bool {
	select {
	case <-h.Lost:
		return true
	default:
		return false
	}
}

func TestASecondOperatorIsRefusedWithWhoWhereAndSinceWhen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, said := newLeaseCluster(), &saying{}
		first := mustHold(t, c, operatorNamed("ada@laptop", "1"), said)
		time.Sleep(25 * time.Second)
		_, err := Take(t.Context(), c, operatorNamed("bob@desk", "2"), said.tell)
		var held *HeldError
		if !errors.As(err, &held) || held.Stale() || leaseCode(err) != 7 {
			t.Fatalf("%v, exit code %d", err, leaseCode(err))
		}
		for _, word := range []string{"ada@laptop migrates this cluster since 2000-01-01 00:00:00 UTC", "`migrate run`", "/home/ada@laptop/migrate.journal", "5.0 s ago", "`migrate unlock`"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("it does not say %q: %v", word, err)
			}
		}
		first.Release(t.Context())
		if left, err := c.Operator(t.Context()); err != nil || left != nil {
			t.Errorf("afterwards there is %+v, %v", left, err)
		}
		mustHold(t, c, operatorNamed("bob@desk", "3"), said).Release(t.Context())
		if said.String() != "" {
			t.Errorf("it said: %s", said)
		}
	})
}

func TestAKilledRunTakesItsOwnLeaseBackAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, said := newLeaseCluster(), &saying{}
		killed := mustHold(t, c, operatorNamed("ada@laptop", "1"), said)
		killed.cancel() // as kill -9: nothing is given back
		<-killed.ended
		resumed := mustHold(t, c, operatorNamed("ada@laptop", "2"), said)
		defer resumed.Release(t.Context())
		if left, err := c.Operator(t.Context()); err != nil || left.Run != "2" {
			t.Errorf("the Lease is %+v, %v", left, err)
		}
		// What the killed one might still do on its way out is none of its business any more.
		killed.Release(t.Context())
		if left, err := c.Operator(t.Context()); err != nil || left == nil || left.Run != "2" {
			t.Errorf("the Lease is %+v, %v", left, err)
		}
	})
}

func TestTheLeaseSurvivesAnAPIThatIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, said := newLeaseCluster(), &saying{}
		h := mustHold(t, c, operatorNamed("ada@laptop", "1"), said)
		defer h.Release(t.Context())
		c.goAway(true)
		time.Sleep(3 * time.Minute)
		c.goAway(false)
		time.Sleep(leaseRenew + time.Second)
		left, err := c.Operator(t.Context())
		if err != nil || isLost(h) || time.Since(left.Renewed) > leaseRenew {
			t.Errorf("lost: %t, %+v, %v; it said: %s", isLost(h), left, err, said)
		}
		if err := h.Explain(nil); err != nil {
			t.Error(err)
		}
	})
}

func TestWithoutAnAPIARunGoesOnAndTakesTheLeaseLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, said := newLeaseCluster(), &saying{}
		c.goAway(true)
		h := mustHold(t, c, operatorNamed("ada@laptop", "1"), said)
		if !strings.Contains(said.String(), "going on without the Lease") {
			t.Errorf("it said %q", said)
		}
		c.goAway(false)
		time.Sleep(leaseRenew + time.Second)
		if left, err := c.Operator(t.Context()); err != nil || left == nil || left.Run != "1" {
			t.Errorf("the Lease is %+v, %v", left, err)
		}
		h.Release(t.Context())

		c.goAway(true)
		late := mustHold(t, c, operatorNamed("bob@desk", "2"), said)
		defer late.Release(t.Context())
		c.goAway(false)
		defer mustHold(t, c, operatorNamed("ada@laptop", "3"), said).Release(t.Context())
		time.Sleep(leaseRenew + time.Second)
		if err := late.Explain(nil); !isLost(late) || leaseCode(err) != 4 || !strings.Contains(err.Error(), "ada@laptop") {
			t.Errorf("%v, exit code %d", err, leaseCode(err))
		}
	})
}

func TestUnlock(t *testing.T) {
	t.Parallel()
	yes := func(kube.Operator) error { return nil }
	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		said := &saying{}
		if err := Unlock(t.Context(), newLeaseCluster(), false, yes, said.tell); err != nil || !strings.Contains(said.String(), "Nobody migrates this cluster") {
			t.Errorf("%v: %s", err, said)
		}
	})
	t.Run("a living one is left alone", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c, said := newLeaseCluster(), &saying{}
			h := mustHold(t, c, operatorNamed("ada@laptop", "1"), said)
			defer h.Release(t.Context())
			err := Unlock(t.Context(), c, false, yes, said.tell)
			if leaseCode(err) != 7 || !strings.Contains(err.Error(), "--force") || !strings.Contains(said.String(), "ada@laptop") {
				t.Errorf("%v, exit code %d; %s", err, leaseCode(err), said)
			}
		})
	})
	t.Run("one with a clock that is an hour behind is left alone", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := newLeaseCluster()
			behind := &renewing{c, -time.Hour}
			h, err := Take(t.Context(), behind, operatorNamed("ada@laptop", "1"), (&saying{}).tell)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Release(t.Context())
			if err := Unlock(t.Context(), c, false, yes, (&saying{}).tell); leaseCode(err) != 7 {
				t.Errorf("%v", err)
			}
		})
	})
	for name, skew := range map[string]time.Duration{"a dead one": 0, "a dead one with a clock that is an hour ahead": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, said := newLeaseCluster(), &saying{}
				dead, err := Take(t.Context(), &renewing{c, skew}, operatorNamed("ada@laptop", "1"), said.tell)
				if err != nil {
					t.Fatal(err)
				}
				dead.cancel()
				time.Sleep(2 * leaseLasts)
				no := errors.New("not that name")
				if err := Unlock(t.Context(), c, false, func(kube.Operator) error { return no }, said.tell); !errors.Is(err, no) {
					t.Errorf("refused: %v", err)
				}
				if err := Unlock(t.Context(), c, false, yes, said.tell); err != nil {
					t.Fatal(err)
				}
				if left, err := c.Operator(t.Context()); err != nil || left != nil {
					t.Errorf("the Lease is %+v, %v", left, err)
				}
			})
		})
	}
	t.Run("with force, and the run stops and says who", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c, said := newLeaseCluster(), &saying{}
			h := mustHold(t, c, operatorNamed("ada@laptop", "1"), said)
			if err := Unlock(t.Context(), c, true, yes, said.tell); err != nil {
				t.Fatal(err)
			}
			time.Sleep(leaseRenew + time.Second)
			err := h.Explain(migrate.ErrStopped)
			if !isLost(h) || leaseCode(err) != 4 || !strings.Contains(err.Error(), "took the cluster away from this run (`migrate unlock`)") {
				t.Errorf("%v, exit code %d", err, leaseCode(err))
			}
			h.Release(t.Context())
			if left, err := c.Operator(t.Context()); err != nil || left != nil {
				t.Errorf("the Lease is %+v, %v", left, err)
			}
		})
	})
	t.Run("a run that slept is told who has it now", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c, said := newLeaseCluster(), &saying{}
			asleep := mustHold(t, c, operatorNamed("ada@laptop", "1"), said)
			seen, err := c.Operator(t.Context())
			if err := errors.Join(err, c.Unlock(t.Context(), *seen, "bob@desk", false)); err != nil {
				t.Fatal(err)
			}
			other := mustHold(t, c, operatorNamed("bob@desk", "2"), said)
			defer other.Release(t.Context())
			time.Sleep(leaseRenew + time.Second)
			if err := asleep.Explain(nil); !isLost(asleep) || !strings.Contains(fmt.Sprint(err), "bob@desk took the cluster over from this run") {
				t.Errorf("%v", err)
			}
			asleep.Release(t.Context())
			if left, err := c.Operator(t.Context()); err != nil || left == nil || left.Run != "2" {
				t.Errorf("the Lease is %+v, %v", left, err)
			}
		})
	})
}

// renewing is an operator's API client on a machine with another clock.
type renewing struct {
	*leaseCluster
	skew time.Duration
}

func (r *renewing) TakeOperator(ctx context.Context, me kube.Operator) (*kube.Operator, error) {
	me.Since, me.Renewed = me.Since.Add(r.skew), me.Renewed.Add(r.skew)
	return r.leaseCluster.TakeOperator(ctx, me)
}

func (r *renewing) RenewOperator(ctx context.Context, me kube.Operator) (bool, *kube.Operator, error) {
	me.Renewed = me.Renewed.Add(r.skew)
	return r.leaseCluster.RenewOperator(ctx, me)
}

// givenUp is an API server that takes the Lease, and whose answer nobody waits for.
type givenUp struct {
	*leaseCluster
	cancel context.CancelFunc
}

func (g givenUp) TakeOperator(ctx context.Context, me kube.Operator) (*kube.Operator, error) {
	if _, err := g.leaseCluster.TakeOperator(ctx, me); err != nil {
		return nil, err
	}
	g.cancel()
	return nil, ctx.Err()
}

// TestALeaseTakenInVainIsGivenBack: a signal while it is taken must not keep others
// away.
func TestALeaseTakenInVainIsGivenBack(t *testing.T) {
	t.Parallel()
	c := newLeaseCluster()
	ctx, cancel := context.WithCancel(t.Context())
	if h, err := Take(ctx, givenUp{c, cancel}, operatorNamed("ada", "1"), new(saying).tell); h != nil || !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, %v", h, err)
	}
	other := mustHold(t, c, operatorNamed("grace", "2"), new(saying))
	other.Release(t.Context())
}

// leaseCode is what the command line makes of an error of this package.
func leaseCode(err error) int {
	switch {
	case errors.Is(err, migrate.ErrStopped):
		return 4
	case errors.As(err, new(*HeldError)):
		return 7
	}
	return 1
}
