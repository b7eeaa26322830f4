package migrate

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hamigrate/state"
)

func with(w When) func(*Step[reader, writer]) {
	return func(s *Step[reader, writer]) { s.When = w }
}

// ways is a phase that can be done in three ways, one of them with the steps of
// another.
func ways() Phase[reader, writer] {
	p := phase(
		step("a", Once),
		step("first", Once, with(When{"way": {"over", "back"}})),
		step("second", Once, with(When{"way": {"under"}})),
		step("b", Once, with(When{"way": {"over", "back"}}), needs("first")),
		step("b", Once, with(When{"way": {"under"}}), needs("second")),
		step("big", Once, with(When{"way": {"over", "under"}, "size": {"big"}})),
		step("c", Once),
	)
	p.Facets = map[Facet][]string{"way": {"over", "under", "back"}, "size": {"small", "big"}}
	return p
}

func ids(p Phase[reader, writer]) string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, string(s.ID))
	}
	return strings.Join(out, " ")
}

func TestForKeepsTheStepsOfAChoice(t *testing.T) {
	t.Parallel()
	declared := ways()
	if err := Validate(declared); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]Choice{
		"a first second b b big c": nil,
		"a first b c":              {"way": "over", "size": "small"},
		"a first b big c":          {"way": "over", "size": "big"},
		"a second b big c":         {"way": "under"}, // the size is still open
		"a first second b b c":     {"size": "small", "colour": "red"},
	} {
		p := declared.For(c)
		if got := ids(p); got != want {
			t.Errorf("%v: steps %q, want %q", c, got, want)
		}
		if _, given := p.Choice["colour"]; given || len(p.Facets)+len(p.Choice) != 2 {
			t.Errorf("%v: chosen %v, open %v", c, p.Choice, p.Facets)
		}
		for _, s := range p.Steps {
			for facet := range s.When {
				if _, open := p.Facets[facet]; !open {
					t.Errorf("%v: %s depends on %s, which is answered", c, s.ID, facet)
				}
			}
		}
	}
	if ids(declared) != "a first second b b big c" || len(declared.Facets) != 2 || len(declared.Steps[1].When) != 1 {
		t.Error("choosing changed the declaration")
	}
	one := declared.For(Choice{"way": "under"}).For(Choice{"size": "big"})
	if both := declared.For(Choice{"way": "under", "size": "big"}); ids(one) != ids(both) || !maps.Equal(one.Choice, both.Choice) {
		t.Errorf("one after the other %q %v, both at once %q %v", ids(one), one.Choice, ids(both), both.Choice)
	}
}

func TestValidateLooksAtEveryChoice(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(*Phase[reader, writer]){
		"step 4 (b) with size small, way under: ID is used twice": func(p *Phase[reader, writer]) { p.Steps[3] = step("b", Once) },
		`step 2 (b) with size big, way under: needs "first", which is no earlier step o`: func(p *Phase[reader, writer]) {
			p.Steps[4].Needs, p.Steps[2].When = []StepID{"first"}, When{"way": {"over"}}
		},
		`step 3 (second): When names the answer "sideways" to "way", which the phase do`: func(p *Phase[reader, writer]) { p.Steps[2].When = When{"way": {"sideways"}} },
		`step 3 (second): When names the answer "red" to "colour", which the phase does`: func(p *Phase[reader, writer]) { p.Steps[2].When = When{"colour": {"red"}} },
		`step 3 (second): When allows no answer to "way"`:                                func(p *Phase[reader, writer]) { p.Steps[2].When = When{"way": nil} },
		`there is no answer to the facet "size"`:                                         func(p *Phase[reader, writer]) { p.Facets["size"] = nil },
		"has no steps with size small, way back":                                         func(p *Phase[reader, writer]) { p.Steps = p.Steps[5:6] },
	} {
		p := ways()
		spoil(&p)
		if err := Validate(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestTheJournalKeepsTheChoice of a phase that is begun, and a way back in
// another form does not change it. Without a choice, nothing is done.
func TestTheJournalKeepsTheChoice(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	declared := ways()
	for i := range declared.Steps {
		grouped(&declared.Steps[i]) // each has a way back
		declared.Steps[i].Group = ""
	}
	if err := runner(w, j).Run(t.Context(), declared.For(Choice{"way": "over"})); err == nil || !strings.Contains(err.Error(), "not chosen yet: [size]") || len(w.ops) > 0 {
		t.Fatalf("with an open facet: %v, %v", err, w.ops)
	}
	chosen := Choice{"way": "over", "size": "small"}
	if err := runner(w, j).Run(t.Context(), declared.For(chosen)); err != nil {
		t.Fatal(err)
	}
	recorded := func(when string) {
		t.Helper()
		known, err := j.Phase(2)
		if err != nil {
			t.Fatal(err)
		}
		if got := declared.Begun(known); !maps.Equal(got, chosen) {
			t.Errorf("%s: begun with %v", when, got)
		}
	}
	recorded("done")
	if err := runner(w, j).Rollback(t.Context(), declared.For(Choice{"way": "back", "size": "small"})); err != nil {
		t.Fatal(err)
	}
	recorded("undone")
}

// before is a journal as programs wrote it that did not write the choice.
type before struct{ *state.Journal }

func (b before) BeginPhase(phase int, spec, declaration string, _ map[string]string) error {
	return b.Journal.BeginPhase(phase, spec, declaration, nil)
}

// TestAJournalWithoutAChoiceIsCarriedOn: a phase that such a program left half
// done is told by its steps, brought to its end, and undone.
func TestAJournalWithoutAChoiceIsCarriedOn(t *testing.T) {
	t.Parallel()
	w, j := newWorld(), newJournal(t)
	declared := ways()
	for i := range declared.Steps {
		grouped(&declared.Steps[i]) // each has a way back
		declared.Steps[i].Group = ""
	}
	chosen := Choice{"way": "under", "size": "small"}
	old, stop := runner(w, before{j}), make(chan struct{})
	old.Stop = stop
	w.touch = func(id StepID, _, value string) error {
		if id == "second" && value == "new" {
			close(stop)
		}
		return nil
	}
	if err := old.Run(t.Context(), declared.For(chosen)); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	w.touch = func(StepID, string, string) error { return nil }
	known, err := j.Phase(2)
	if err != nil || len(known.Choice) > 0 {
		t.Fatalf("the program of before wrote %v, %v", known.Choice, err)
	}
	p := declared.For(declared.Begun(known))
	if !maps.Equal(p.Choice, chosen) {
		t.Fatalf("begun with %v", p.Choice)
	}
	if err := runner(w, j).Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	done := len(w.ops)
	if err := runner(w, j).Rollback(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if steps := 2 * len(p.Steps); done != steps || len(w.ops) != 2*steps {
		t.Errorf("%d changes there and %d back for %d steps: %v", done, len(w.ops)-done, len(p.Steps), w.ops)
	}
}

// TestBegun: the choice as recorded, or by the steps where a program of before
// recorded none.
func TestBegun(t *testing.T) {
	t.Parallel()
	p := ways()
	for _, c := range p.Choices() {
		steps := Fingerprint(p.For(c))
		if got := p.Begun(state.Phase{Declaration: "of another version", Choice: c.record()}); !maps.Equal(got, c) {
			t.Errorf("recorded %v, got %v", c, got)
		}
		got := p.Begun(state.Phase{Declaration: steps})
		if got == nil || Fingerprint(p.For(got)) != steps || c["way"] != "back" && c["size"] == "small" && !maps.Equal(got, c) {
			t.Errorf("by the steps of %v, got %v", c, got)
		}
		if got := p.BegunBy(PreImage{Declaration: steps}); got == nil || !reflect.DeepEqual(got, p.Begun(state.Phase{Declaration: steps})) {
			t.Errorf("by a trace of %v, got %v", c, got)
		}
	}
	if got := p.Begun(state.Phase{Declaration: "of another version"}); got != nil {
		t.Errorf("not known, got %v", got)
	}
	if n := len(p.Choices()); n != 6 || len(slices.Collect(maps.Keys(p.Choices()[0]))) != 2 {
		t.Errorf("%d choices: %v", n, p.Choices())
	}
}
