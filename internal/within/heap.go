package within

import (
	"runtime"
	"time"
)

// HeapPeak is what do added to the heap at most, in bytes. What else runs at the same
// time counts as well, so a test that asks is not parallel.
func HeapPeak(do func()) uint64 {
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
