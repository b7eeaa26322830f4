package probe

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestRemovePath: what becomes of a path that was removed is nobody's loss,
// and its figures of before stay.
func TestRemovePath(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, r := measure(t, func(t *testing.T, f *fakeServer, p *Probe) {
			time.Sleep(2 * time.Second)
			path := p.probes()[0].path
			if err := p.RemovePath(path.Name, path.From); err != nil {
				t.Error(err)
			}
			if err := p.RemovePath(path.Name, path.From); err == nil {
				t.Error("a path was removed twice")
			}
			f.status.Store(500)
			time.Sleep(5 * time.Second)
			if live := p.Snapshot(); live.DownFor() != 0 || live.Failures() != 0 {
				t.Errorf("a removed path is down: %+v", live)
			}
			f.status.Store(0)
			if err := p.AddPath(path); err != nil {
				t.Errorf("adding it again: %v", err)
			}
			time.Sleep(time.Second)
		})
		k := kind(t, r, KeptRead)
		if r.Failures() != 0 || k.Requests < 99 || k.Requests > 102 {
			t.Errorf("%d requests, %d failures", k.Requests, r.Failures())
		}
	})
}
