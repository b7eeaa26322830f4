package state

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// open opens a journal that checks the whole file after each commit.
func open(t *testing.T, path string) *Journal {
	t.Helper()
	j, err := Open(path, Options{Tool: "v1", Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestReopenAfterEveryCommit: each write is there for the next process.
func TestReopenAfterEveryCommit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	key := Key{2, "etcd/add-learner", "e1"}
	var want Record
	for _, c := range []Change{
		{Event: Start, Before: before("one member"), Note: "e1 is no member"},
		{Event: Fail, Error: "no route"},
		{Event: Start, Before: before("two members")},
		{Event: ApplyDone},
		{Event: VerifyDone},
	} {
		j := open(t, path)
		want = must[Record](t)(j.Advance(key, c))
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = open(t, path)
		if diff := cmp.Diff(want, must[Record](t)(j.Record(key))); diff != "" {
			t.Fatalf("after %s (-written +read):\n%s", c.Event, diff)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	j := open(t, path)
	var told []string
	for i, e := range must[[]LogEntry](t)(j.Log()) {
		if e.Seq != uint64(i+1) || e.At.IsZero() || e.Key != key {
			t.Errorf("log entry %d: %+v", i, e)
		}
		told = append(told, string(e.From)+"→"+string(e.To)+" "+e.Note)
	}
	if diff := cmp.Diff([]string{
		"pending→started e1 is no member", "started→failed ", "failed→started ", "started→applied ", "applied→verified ",
	}, told); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before("one member"), want.Before); diff != "" {
		t.Error(diff)
	}
}

func TestARefusedEventLeavesNoTrace(t *testing.T) {
	t.Parallel()
	j := open(t, filepath.Join(t.TempDir(), "j"))
	key := Key{1, "a", "x"}
	var refused *TransitionError
	if _, err := j.Advance(key, Change{Event: ApplyDone}); !errors.As(err, &refused) {
		t.Fatalf("got %v", err)
	}
	if log := must[[]LogEntry](t)(j.Log()); len(log) != 0 {
		t.Errorf("log: %v", log)
	}
	if recs := must[[]Record](t)(j.Records(1)); len(recs) != 0 {
		t.Errorf("records: %v", recs)
	}
	if rec := must[Record](t)(j.Record(key)); rec.Status != Pending || rec.Key != key {
		t.Errorf("record: %+v", rec)
	}
}

func TestRecordsAreInOrderOfFirstStart(t *testing.T) {
	t.Parallel()
	j := open(t, filepath.Join(t.TempDir(), "j"))
	advance := func(phase int, step, target string, e Event) {
		t.Helper()
		must[Record](t)(j.Advance(Key{phase, step, target}, Change{Event: e}))
	}
	advance(1, "z", "w2", Start)
	advance(1, "b", "w1", Found)
	advance(1, "a", "w1", Start)
	advance(10, "other", "w1", Start) // "1" must not match "10"
	advance(1, "z", "w2", Fail)
	advance(1, "z", "w2", Start) // a retry keeps its place
	advance(1, "b", "w1", Start) // drifted: its first start is now
	var got []string
	for _, r := range must[[]Record](t)(j.Records(1)) {
		got = append(got, r.Step)
	}
	if diff := cmp.Diff([]string{"z", "a", "b"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestKeysThatLookAlikeDiffer(t *testing.T) {
	t.Parallel()
	j := open(t, filepath.Join(t.TempDir(), "j"))
	must[Record](t)(j.Advance(Key{1, "a/b", "c"}, Change{Event: Start}))
	if rec := must[Record](t)(j.Record(Key{1, "a", "b/c"})); rec.Status != Pending {
		t.Errorf("got %+v", rec)
	}
	for _, k := range []Key{{1, "", "x"}, {1, "x", ""}, {1, "x\x00", "y"}} {
		if _, err := j.Advance(k, Change{Event: Start}); err == nil {
			t.Errorf("key %+v was taken", k)
		}
	}
}

func TestRunsAndPhases(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path)
	end := must[func(string, bool) error](t)(j.BeginRun(1))
	if err := end("nothing begun", true); err != nil {
		t.Fatal(err)
	}
	if p := must[Phase](t)(j.Phase(1)); !reflect.DeepEqual(p, Phase{}) {
		t.Errorf("a phase never begun is %+v", p)
	}
	if err := j.BeginPhase(1, "sha256:spec", "sha256:steps", nil); err != nil {
		t.Fatal(err)
	}
	must[func(string, bool) error](t)(j.BeginRun(1)) // killed
	end = must[func(string, bool) error](t)(j.BeginRun(1))
	if p := must[Phase](t)(j.Phase(1)); p.Spec != "sha256:spec" || p.Declaration != "sha256:steps" || p.Tool != "v1" || p.Begun.IsZero() || !p.Completed.IsZero() {
		t.Errorf("begun: %+v", p)
	}
	if err := end("done", true); err != nil {
		t.Fatal(err)
	}
	completed := must[Phase](t)(j.Phase(1)).Completed
	if completed.IsZero() {
		t.Error("not completed")
	}
	end = must[func(string, bool) error](t)(j.BeginRun(1))
	if err := end("done", true); err != nil {
		t.Fatal(err)
	}
	if again := must[Phase](t)(j.Phase(1)).Completed; again != completed {
		t.Errorf("completed %v, then %v", completed, again)
	}
	var got []string
	for _, r := range must[[]Run](t)(j.Runs()) {
		if !strings.Contains(r.Who, "@") || r.Tool != "v1" || r.Start.IsZero() || r.End.IsZero() != (r.Result == "") {
			t.Errorf("run %+v", r)
		}
		got = append(got, r.Result)
	}
	if diff := cmp.Diff([]string{"nothing begun", "", "done", "done"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestForgetPhase: the records of one phase are gone, with nothing else.
func TestForgetPhase(t *testing.T) {
	t.Parallel()
	j := open(t, filepath.Join(t.TempDir(), "j"))
	for _, k := range []Key{{2, "a", "e1"}, {8, "a", "e1"}, {8, "b", "e1"}, {8, "b", "e2"}, {80, "a", "e1"}} {
		must[Record](t)(j.Advance(k, Change{Event: Start}))
	}
	if err := j.ForgetPhase(8, "renewal", "second"); err != nil {
		t.Fatal(err)
	}
	for phase, want := range map[int]int{2: 1, 8: 0, 80: 1} {
		if got := must[[]Record](t)(j.Records(phase)); len(got) != want {
			t.Errorf("phase %d has %d records, want %d", phase, len(got), want)
		}
	}
	if log := must[[]LogEntry](t)(j.Log()); len(log) != 5 {
		t.Errorf("the log has %d entries, want 5", len(log))
	}
	var blob string
	if ok, err := j.GetBlob("renewal", &blob); err != nil || !ok || blob != "second" {
		t.Errorf("the blob is %q, %t, %v", blob, ok, err)
	}
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	j := open(t, filepath.Join(t.TempDir(), "j"))
	type figures struct{ Requests, Failures int }
	var got figures
	if ok := must[bool](t)(j.GetBlob("probe/1", &got)); ok {
		t.Error("found a blob that is not there")
	}
	for _, want := range []figures{{1993, 0}, {2000, 1}} {
		if err := j.PutBlob("probe/1", want); err != nil {
			t.Fatal(err)
		}
		if ok := must[bool](t)(j.GetBlob("probe/1", &got)); !ok || got != want {
			t.Errorf("got %v %+v, want %+v", ok, got, want)
		}
	}
	if _, err := j.GetBlob("probe/1", new(string)); err == nil {
		t.Error("decoded an object into a string")
	}
}

func TestAJournalBelongsToOneCluster(t *testing.T) {
	t.Parallel()
	j := open(t, filepath.Join(t.TempDir(), "j"))
	for range 2 {
		if err := j.BindCluster("uid-1"); err != nil {
			t.Fatal(err)
		}
	}
	var other *ClusterError
	if err := j.BindCluster("uid-2"); !errors.As(err, &other) || other.Want != "uid-1" || other.Got != "uid-2" {
		t.Fatalf("got %v", err)
	}
	if id := must[string](t)(j.Cluster()); id != "uid-1" {
		t.Errorf("bound to %q", id)
	}
}

func TestClosedJournal(t *testing.T) {
	t.Parallel()
	j := open(t, filepath.Join(t.TempDir(), "j"))
	for range 2 {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := j.Advance(Key{1, "a", "b"}, Change{Event: Start}); err == nil {
		t.Error("a closed journal took a write")
	}
}
