package phasestest_test

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/phasestest"
	"hamigrate/state"
)

type logEvents struct{ t *testing.T }

func (l logEvents) Event(e migrate.Event) {
	l.t.Logf("%s %s %s %s %s", e.At.Format(time.TimeOnly), e.Kind, e.Step, e.Target, e.Message)
}

func TestForward(t *testing.T) {
	for _, strategy := range []phases.Strategy{phases.InPlace, phases.Overlap} {
		t.Run(string(strategy), func(t *testing.T) { forward(t, strategy) })
	}
}

func forward(t *testing.T, strategy phases.Strategy) {
	synctest.Test(t, func(t *testing.T) {
		w := phasestest.New(t)
		defer w.Close()
		j, err := state.Open(filepath.Join(t.TempDir(), "journal"), state.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		env := w.Connect()
		defer env.Close()
		for _, p := range allPhases(strategy) {
			r := migrate.Runner[phases.View, phases.Hands]{Env: env, Journal: j, Spec: w.Spec.Fingerprint, Events: logEvents{t}}
			if err := r.Run(t.Context(), p); err != nil {
				t.Fatal(err, w.Broken(), w.Faults.Ops())
			}
		}
		for i, op := range w.Faults.Ops() {
			t.Log(i+1, op)
		}
		t.Log(w.Broken(), w.Outages())
	})
}
