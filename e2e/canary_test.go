package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A request that is answered after more than two seconds counts as failed.
// That is a verdict on the program only where the machine could have answered:
// all hosts of a playground are processes of this one. So something that has
// to do with neither is timed all the while, a program that does nothing, which
// takes some milliseconds on a machine that keeps up. And the kernel tells for
// how much of the time somebody waited for a processor (Documentation/accounting/psi.rst).
const (
	canaryInterval = 250 * time.Millisecond
	// canarySlow is far more than a busy machine with time to spare takes.
	canarySlow = 100 * time.Millisecond
	// canaryShare is how many of a hundred may take that long.
	canaryShare = 2
	// pressed is the share of the time, in percent, in which somebody may wait
	// for a processor on a machine that keeps up.
	pressed = 50
	// lateShare is how many requests of a hundred a slow machine excuses.
	lateShare = 2
	// pressureFile has "some avg10=0.00 avg60=0.00 avg300=0.00 total=MICROSECONDS".
	pressureFile = "/proc/pressure/cpu"
)

// canary times the program that does nothing until its context ends.
type canary struct {
	mu    sync.Mutex
	took  []time.Duration
	began time.Time
	had   time.Duration // of waiting for a processor, when it began
}

// waitedForCPU is the time since the machine's start in which somebody waited
// for a processor; not known on a kernel that does not count it.
func waitedForCPU() (time.Duration, bool) {
	data, err := os.ReadFile(pressureFile)
	if err != nil {
		return 0, false
	}
	line, _, _ := strings.Cut(string(data), "\n")
	_, total, ok := strings.Cut(line, "total=")
	us, err := strconv.ParseInt(total, 10, 64)
	return time.Duration(us) * time.Microsecond, ok && err == nil
}

func startCanary(ctx context.Context) *canary {
	c := &canary{began: time.Now()}
	c.had, _ = waitedForCPU()
	go func() {
		tick := time.NewTicker(canaryInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			began := time.Now()
			if exec.CommandContext(ctx, "true").Run() != nil {
				continue // the test is over
			}
			c.mu.Lock()
			c.took = append(c.took, time.Since(began))
			c.mu.Unlock()
		}
	}()
	return c
}

// overloaded says whether the machine did not keep up, and how that was seen.
func (c *canary) overloaded() (bool, string) {
	if c == nil {
		return false, "nothing was timed"
	}
	c.mu.Lock()
	took := slices.Sorted(slices.Values(c.took))
	c.mu.Unlock()
	if len(took) == 0 {
		return false, "nothing was timed"
	}
	slow := len(took) - slices.IndexFunc(append(took, time.Hour), func(d time.Duration) bool { return d > canarySlow })
	said := fmt.Sprintf("of %d runs of a program that does nothing %d took more than %s, the longest %s",
		len(took), slow, canarySlow, took[len(took)-1].Round(time.Millisecond))
	busy := 100*slow > canaryShare*len(took)
	if waited, known := waitedForCPU(); known {
		percent := 100 * float64(waited-c.had) / float64(time.Since(c.began))
		said += fmt.Sprintf("; somebody waited for a processor in %.0f %% of the time", percent)
		busy = busy || percent > pressed
	}
	return busy, said
}

// lateOnly says whether nothing but two seconds without an answer is named:
// the client's, or those that the API server itself gives etcd for the answer
// to /readyz (--etcd-readycheck-timeout).
func lateOnly(reasons map[string]int) bool {
	for reason := range reasons {
		if !strings.Contains(reason, "no answer within") && !strings.HasPrefix(reason, "readyz status 500: etcd") {
			return false
		}
	}
	return len(reasons) > 0
}
