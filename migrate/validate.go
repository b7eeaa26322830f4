package migrate

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Validate returns every mistake of a declaration, joined: a mistake here is
// a bug of the program, found by a test and not at the third step. Where facets
// are open, every choice is looked at.
func Validate[V, H any](p Phase[V, H]) error {
	var errs []error
	bad := func(format string, args ...any) {
		err := fmt.Errorf("phase %d (%s): %s", p.Number, p.Name, fmt.Sprintf(format, args...))
		if !slices.ContainsFunc(errs, func(e error) bool { return e.Error() == err.Error() }) { // another choice has it, too
			errs = append(errs, err)
		}
	}
	if p.Number < 1 {
		bad("Number must be 1 or more")
	}
	if p.Name == "" || p.Title == "" || p.Why == "" {
		bad("Name, Title and Why must be set")
	}
	if p.Invariants == nil || p.InvariantsSettle <= 0 {
		bad("Invariants and InvariantsSettle must be set")
	}
	for facet, answers := range p.Facets {
		if len(answers) == 0 {
			bad("there is no answer to the facet %q", facet)
		}
	}
	for i, s := range p.Steps {
		for _, problem := range whenProblems(s.When, p.Facets) {
			bad("step %d (%s): %s", i+1, s.ID, problem)
		}
	}
	for _, c := range p.Choices() {
		validateChoice(p.For(c), bad)
	}
	return errors.Join(errs...)
}

// validateChoice looks at the steps that are done together.
func validateChoice[V, H any](p Phase[V, H], bad func(format string, args ...any)) {
	with := ""
	if len(p.Choice) > 0 {
		with = " with " + p.Choice.String()
	}
	if len(p.Steps) == 0 {
		bad("has no steps%s", with)
	}
	earlier := map[StepID]bool{}
	for i, s := range p.Steps {
		for _, problem := range stepProblems(s, earlier) {
			bad("step %d (%s)%s: %s", i+1, s.ID, with, problem)
		}
		earlier[s.ID] = true
		if s.Group != "" && i > 0 && p.Steps[i-1].Group != s.Group && slices.ContainsFunc(p.Steps[:i], func(e Step[V, H]) bool { return e.Group == s.Group }) {
			bad("step %d (%s)%s: the steps of the group %q do not stand next to each other", i+1, s.ID, with, s.Group)
		}
	}
}

func stepProblems[V, H any](s Step[V, H], earlier map[StepID]bool) []string {
	var bad []string
	must := func(ok bool, problem string) {
		if !ok {
			bad = append(bad, problem)
		}
	}
	must(goodID(s.ID), "ID must be lower-case words joined by - and /")
	must(!earlier[s.ID], "ID is used twice")
	must(s.Title != "" && s.Why != "", "Title and Why must be set")
	must(slices.Contains(selectors(), s.On), fmt.Sprintf("On is %q, which is no selector", s.On))
	must(s.Check != nil && s.Apply != nil && s.Verify != nil, "Check, Apply and Verify must be set")
	must((s.Undo != nil) != (s.OneWay != ""), "exactly one of Undo and OneWay must be set")
	must(s.Group == "" || s.Undo != nil && !s.Rolling, "a step in a group must have an Undo and must not be Rolling")
	must(s.Settle > 0, "Settle must be more than 0")
	must(s.Outage >= 0, "Outage must not be negative")
	for _, need := range s.Needs {
		must(earlier[need], fmt.Sprintf("needs %q, which is no earlier step of this phase", need))
	}
	return bad
}

func selectors() []Selector {
	return []Selector{Once, FirstControlPlane, JoiningControlPlanes, ControlPlanes, EtcdHosts, LoadBalancers, Workers}
}

func goodID(id StepID) bool {
	words := strings.FieldsFunc(string(id), func(r rune) bool { return r == '-' || r == '/' })
	for _, w := range words {
		if strings.Trim(w, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return false
		}
	}
	separators := strings.Count(string(id), "-") + strings.Count(string(id), "/")
	return len(words) > 0 && separators == len(words)-1
}

// Fingerprint is a digest of what the declaration does in which order,
// "sha256:<hex>": the steps, their targets and needs, not their wording. It
// guards the resuming of a phase, whose facets are answered.
func Fingerprint[V, H any](p Phase[V, H]) string {
	type step struct {
		ID      StepID
		On      Selector
		Needs   []StepID
		Rolling bool
	}
	steps := make([]step, 0, len(p.Steps))
	for _, s := range p.Steps {
		steps = append(steps, step{s.ID, s.On, s.Needs, s.Rolling})
	}
	// Strings, bools and slices of them always encode.
	data, _ := json.Marshal(struct {
		Number int
		Name   string
		Steps  []step
	}{p.Number, p.Name, steps})
	return fmt.Sprintf("sha256:%x", sha256.Sum256(data))
}
