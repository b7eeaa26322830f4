package report

import (
	"testing"
	"time"

	"hamigrate/state"
)

// TestDuring: a failure is laid beside the steps that were under way, on one
// host or on several, and between two of them beside the one before.
func TestDuring(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 3, 14, 15, 0, 0, 0, time.UTC)
	entry := func(second int, step, target string, to state.Status) state.LogEntry {
		return state.LogEntry{At: begin.Add(time.Duration(second) * time.Second), Key: state.Key{Phase: 2, Step: step, Target: target}, To: to}
	}
	log := []state.LogEntry{
		entry(10, "etcd/unit", "e1", state.Started), entry(11, "etcd/unit", "e2", state.Started),
		entry(12, "etcd/unit", "e1", state.Applied), entry(14, "etcd/unit", "e1", state.Verified), entry(15, "etcd/unit", "e2", state.Failed),
		entry(20, "etcd/unit", "e1", state.Undoing), entry(22, "etcd/unit", "e1", state.Undone),
		entry(40, "etcd/unit", "e2", state.Undoing), entry(42, "etcd/unit", "e2", state.Failed),
	}
	log[len(log)-1].From = state.Undoing
	for second, want := range map[int]string{
		0: "before the first step", 10: "etcd/unit on e1", 13: "etcd/unit on e2, etcd/unit on e1", 14: "etcd/unit on e2",
		16: "after etcd/unit on e2", 21: "etcd/unit on e1, undone", 30: "after etcd/unit on e1, undone", 43: "after etcd/unit on e2, undone",
	} {
		if got := during(log, begin.Add(time.Duration(second)*time.Second)); got != want {
			t.Errorf("in second %d: %q, not %q", second, got, want)
		}
	}
}
