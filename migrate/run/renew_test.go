package run

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hamigrate/state"
)

func TestDays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "0d": 0, "90m": 90 * time.Minute, "720h": 720 * time.Hour} {
		if got, err := Days(text); got != want || err != nil {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "36501d", "-2h", "soon"} {
		if got, err := Days(text); err == nil {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
}

// TestChooseRenewal: one that is under way goes on as it was begun, one that is
// done is followed by another.
func TestChooseRenewal(t *testing.T) {
	t.Parallel()
	j, err := state.Open(filepath.Join(t.TempDir(), "journal"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	if _, err := chooseRenewal(j, false, "30d", true, now); err == nil {
		t.Error("there is nothing to undo, and it is undone")
	}
	first, err := chooseRenewal(j, true, "60d", false, now)
	if err != nil || first.ID != "renewal-20260501t120000z" || first.Within != "60d" || !first.Began.Equal(now) {
		t.Fatalf("%+v, %v", first, err)
	}
	if err := j.PutBlob(RenewalBlob, first); err != nil {
		t.Fatal(err)
	}
	later := now.Add(time.Hour)
	if again, err := chooseRenewal(j, false, "30d", false, later); err != nil || again.ID != first.ID || again.Within != "60d" {
		t.Errorf("resumed: %+v, %v", again, err)
	}
	if _, err := chooseRenewal(j, true, "30d", false, later); err == nil || !strings.Contains(err.Error(), "within 60d of 2026-05-01 is under way") {
		t.Errorf("another time: %v", err)
	}
	first.Done = later
	if err := j.PutBlob(RenewalBlob, first); err != nil {
		t.Fatal(err)
	}
	if next, err := chooseRenewal(j, false, "30d", false, later); err != nil || next.ID == first.ID {
		t.Errorf("the next: %+v, %v", next, err)
	}
	if last, err := chooseRenewal(j, false, "30d", true, later); err != nil || last.ID != first.ID {
		t.Errorf("to be undone: %+v, %v", last, err)
	}
}

// TestEndedRenewal: it says "Renewed" of nothing that it has not renewed, and
// the one that follows looks from its own day on.
func TestEndedRenewal(t *testing.T) {
	t.Parallel()
	began, now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for within, want := range map[string]string{"30d": "30d", "7d": "7d", "400d": "30d"} {
		u := newRenewal(within, began)
		o, err := u.options()
		if err != nil {
			t.Fatal(err)
		}
		if got := ended(u, o, false); got != "The renewal of 2026-05-01 is ended: nothing was left of it." {
			t.Errorf("nothing was renewed: %s", got)
		}
		if got := ended(u, o, true); !strings.HasPrefix(got, "Renewed. ") || !strings.Contains(got, u.ID) {
			t.Errorf("renewed: %s", got)
		}
		next, err := followUp(u, now)
		if err != nil || next.Within != want || !next.Began.Equal(now) || next.ID == u.ID {
			t.Errorf("after one within %s: %+v, %v", within, next, err)
		}
	}
}
