// Package within holds tests to bounds of time and memory: what reads text of
// somebody else's must not hang on it, and must not fill the memory with it.
package within

import (
	"bytes"
	"fmt"
	"runtime/metrics"
	"runtime/pprof"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The bounds of one input.
const (
	// maxTime is of a processor: on a machine that is busy with other work a
	// second of the clock says nothing.
	maxTime = 2 * time.Second
	// maxWait is of the clock, for what waits and uses no processor.
	maxWait = time.Minute
	// maxMemory is all that is allocated, also what is given back.
	maxMemory = 256 << 20
)

// Bounds runs f, which reads one input. It fails the test where f took more
// than the bounds, and ends the process where f is still going on then: a loop
// cannot be stopped in another way.
func Bounds(t testing.TB, f func()) {
	t.Helper()
	begin := now()
	done := make(chan struct{})
	defer close(done)
	var watch func()
	watch = func() {
		select {
		case <-done:
			return
		default:
		}
		if why := begin.beyond(); why != "" {
			var stacks bytes.Buffer
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 2) // a buffer takes all
			panic("an input is beyond the bounds: " + why + "\n" + stacks.String())
		}
		time.AfterFunc(20*time.Millisecond, watch)
	}
	timer := time.AfterFunc(20*time.Millisecond, watch)
	defer timer.Stop()
	f()
	if why := begin.beyond(); why != "" {
		t.Fatalf("an input is beyond the bounds: %s", why)
	}
}

// used is what the process has used so far.
type used struct {
	at        time.Time
	processor time.Duration
	memory    uint64
}

func now() used {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage) // it fails for wrong arguments only
	return used{time.Now(), time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), sample[0].Value.Uint64()}
}

// beyond says which bound is passed since, "" for none.
func (u used) beyond() string {
	n := now()
	switch processor, waited, memory := n.processor-u.processor, n.at.Sub(u.at), n.memory-u.memory; {
	case memory > maxMemory:
		return fmt.Sprintf("it allocated %d MiB, the bound is %d", memory>>20, maxMemory>>20)
	case waited > maxTime && processor > maxTime:
		return fmt.Sprintf("it took %v of a processor, the bound is %v", processor, maxTime)
	case waited > maxWait:
		return fmt.Sprintf("it took %v, the bound is %v", waited, maxWait)
	}
	return ""
}
