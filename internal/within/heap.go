package within

import (
	"runtime"
	"runtime/debug"
	"time"
)

// HeapPeak is what do added to the heap at most, in bytes. What else runs at the same
// time counts as well, so a test that asks is not parallel. What is collected late is
// no matter of the program's: it is collected as the program's own garbage is (GOGC=100),
// whatever the tests are run with.
func HeapPeak(do func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done, ended := make(chan struct{}), make(chan uint64)
	go func() {
		peak := uint64(0)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			runtime.ReadMemStats(&now)
			if now.HeapInuse > before.HeapInuse {
				peak = max(peak, now.HeapInuse-before.HeapInuse)
			}
			select {
			case <-tick.C:
			case <-done:
				ended <- peak
				return
			}
		}
	}()
	do()
	close(done)
	return <-ended
}
