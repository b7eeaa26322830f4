package migrate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"hamigrate/state"
)

// Facet is a question on whose answer it depends which steps a phase has, such
// as "strategy". The engine does not know what a facet means.
type Facet string

// When says in which cases a step is part of its phase: each facet that it
// names has one of these answers. Empty: in all cases.
type When map[Facet][]string

// Choice is one answer to each facet that it names.
type Choice map[Facet]string

// holds says whether a step is part of its phase with a choice. What the choice
// does not answer is still open.
func (w When) holds(c Choice) bool {
	for facet, answers := range w {
		if a, answered := c[facet]; answered && !slices.Contains(answers, a) {
			return false
		}
	}
	return true
}

// For is the phase with the steps that it has with a choice. Facets that the
// choice does not answer stay open; answers to facets that the phase does not
// have are left out. The phase itself is not changed.
func (p Phase[V, H]) For(c Choice) Phase[V, H] {
	out := p
	out.Facets, out.Choice, out.Steps = maps.Clone(p.Facets), maps.Clone(p.Choice), nil
	for facet, answer := range c {
		if _, open := p.Facets[facet]; !open {
			continue
		}
		delete(out.Facets, facet)
		if out.Choice == nil {
			out.Choice = Choice{}
		}
		out.Choice[facet] = answer
	}
	for _, s := range p.Steps {
		if s.When.holds(out.Choice) {
			s.When = maps.Clone(s.When)
			maps.DeleteFunc(s.When, func(f Facet, _ []string) bool { _, answered := out.Choice[f]; return answered })
			out.Steps = append(out.Steps, s)
		}
	}
	return out
}

// Choices lists all ways to answer the facets that are open, the first answers
// first. Where none is open, it is one that answers nothing.
func (p Phase[V, H]) Choices() []Choice {
	all := []Choice{{}}
	for _, facet := range slices.Sorted(maps.Keys(p.Facets)) {
		var more []Choice
		for _, c := range all {
			for _, answer := range p.Facets[facet] {
				with := maps.Clone(c)
				with[facet] = answer
				more = append(more, with)
			}
		}
		all = more
	}
	return all
}

// Begun is the choice with which a phase was begun, by what the journal knows
// of it. It is nil where the phase was not begun, or with steps that this
// program does not have. A journal of a program that did not write the choice
// yet is told by the fingerprint of the steps.
func (p Phase[V, H]) Begun(known state.Phase) Choice { return p.begun(known.Choice, known.Declaration) }

// BegunBy is Begun, by a trace of one of its steps.
func (p Phase[V, H]) BegunBy(t PreImage) Choice { return p.begun(t.Choice, t.Declaration) }

func (p Phase[V, H]) begun(recorded map[string]string, declaration string) Choice {
	if len(recorded) > 0 {
		c := Choice{}
		for facet, answer := range recorded {
			c[Facet(facet)] = answer
		}
		return c
	}
	for _, c := range p.Choices() {
		if Fingerprint(p.For(c)) == declaration {
			return c
		}
	}
	return nil
}

// record is the choice as the journal keeps it; nil where nothing was chosen.
func (c Choice) record() map[string]string {
	if len(c) == 0 {
		return nil
	}
	out := map[string]string{}
	for facet, answer := range c {
		out[string(facet)] = answer
	}
	return out
}

func (c Choice) String() string {
	var words []string
	for _, facet := range slices.Sorted(maps.Keys(c)) {
		words = append(words, fmt.Sprintf("%s %s", facet, c[facet]))
	}
	return strings.Join(words, ", ")
}

// unanswered is the error that a phase can't be done, or looked at, before its facets
// are answered.
func unanswered[V, H any](p Phase[V, H]) error {
	if len(p.Facets) == 0 {
		return nil
	}
	return fmt.Errorf("phase %d (%s): not chosen yet: %v", p.Number, p.Name, slices.Sorted(maps.Keys(p.Facets)))
}

// whenProblems are mistakes of a step's When.
func whenProblems(w When, facets map[Facet][]string) []string {
	var bad []string
	for _, facet := range slices.Sorted(maps.Keys(w)) {
		if len(w[facet]) == 0 {
			bad = append(bad, fmt.Sprintf("When allows no answer to %q", facet))
		}
		for _, answer := range w[facet] {
			if !slices.Contains(facets[facet], answer) {
				bad = append(bad, fmt.Sprintf("When names the answer %q to %q, which the phase does not have", answer, facet))
			}
		}
	}
	return bad
}
