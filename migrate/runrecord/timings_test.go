package runrecord

import (
	"path/filepath"
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/state"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// TestTimingRecorder: a step that failed, was undone and was done in another
// run has the sum of it all; what is no step is not counted.
func TestTimingRecorder(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "j")
	told := func(events ...migrate.Event) Timings {
		j, err := state.Open(file, state.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		k := &TimingRecorder{Journal: j, Log: hclog.NewNullLogger()}
		for _, e := range events {
			k.Event(e)
		}
		var all Timings
		if _, err := j.GetBlob(TimingsBlob, &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	step := func(kind migrate.EventKind, phase int, id migrate.StepID, target string, total, waited time.Duration) migrate.Event {
		return migrate.Event{Kind: kind, Phase: phase, Step: id, Target: target, Elapsed: total * time.Second, Waited: waited * time.Second}
	}
	told(
		step(migrate.EventStepFailed, 2, "", "", 9, 9), // the phase's first invariants
		step(migrate.EventStepChecking, 2, "etcd/a", "e1", 9, 9),
		step(migrate.EventStepStarted, 2, "etcd/a", "e1", 9, 9),
		step(migrate.EventStepWaiting, 2, "etcd/a", "e1", 9, 9),
		step(migrate.EventStepFailed, 2, "etcd/a", "e1", 4, 3),
		step(migrate.EventStepUndoing, 2, "etcd/a", "e1", 9, 9),
		step(migrate.EventStepUndone, 2, "etcd/a", "e1", 2, 1),
	)
	got := told( // another run
		step(migrate.EventStepDone, 2, "etcd/a", "e1", 10, 0),
		step(migrate.EventStepDone, 2, "etcd/a", "e2", 5, 2),
		step(migrate.EventStepSatisfied, 3, "etcd/a", "e1", 1, 0),
		step(migrate.EventPhaseDone, 2, "", "", 9, 9),
	)
	want := Timings{[]timing{
		{2, "etcd/a", "e1", 16 * time.Second, 4 * time.Second},
		{2, "etcd/a", "e2", 5 * time.Second, 2 * time.Second},
		{3, "etcd/a", "e1", time.Second, 0},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(want.Steps[1], got.Of(2, "etcd/a", "e2")); diff != "" {
		t.Errorf("of a step (-want +got):\n%s", diff)
	}
	for _, none := range []timing{got.Of(1, "etcd/a", "e1"), got.Of(2, "etcd/b", "e1"), got.Of(2, "etcd/a", "e3"), Timings{}.Of(2, "etcd/a", "e1")} {
		if none != (timing{}) {
			t.Errorf("time of a step that was never done: %+v", none)
		}
	}
}
