package migrate

import (
	"context"
	"strings"
	"testing"
)

func TestValidateRefuses(t *testing.T) {
	t.Parallel()
	type S = Step[reader, writer]
	type P = Phase[reader, writer]
	good := func() P { return phase(step("a", Once), step("b/c-2", Workers, needs("a"))) }
	if err := Validate(group()); err != nil {
		t.Fatalf("a phase with a group: %v", err)
	}
	if err := Validate(good()); err != nil {
		t.Fatalf("a good phase: %v", err)
	}
	for want, spoil := range map[string]func(*P){
		"phase 0 (etcd): Number must be 1 or more":                              func(p *P) { p.Number = 0 },
		"phase 2 (): Name, Title and Why must be set":                           func(p *P) { p.Name = "" },
		"phase 2 (etcd): Invariants and InvariantsSettle must be set":           func(p *P) { p.Invariants = nil },
		"phase 2 (etcd): has no steps":                                          func(p *P) { p.Steps = nil },
		"step 1 (): ID must be lower-case words":                                func(p *P) { p.Steps = []S{step("", Once)} },
		"step 1 (Add Learner): ID must be":                                      func(p *P) { p.Steps = []S{step("Add Learner", Once)} },
		"step 1 (a//b): ID must be":                                             func(p *P) { p.Steps = []S{step("a//b", Once)} },
		"step 2 (a): ID is used twice":                                          func(p *P) { p.Steps[1] = step("a", Once) },
		"step 1 (a): Title and Why must be set":                                 func(p *P) { p.Steps[0].Why = "" },
		`step 1 (a): On is "etcd", which is no selector`:                        func(p *P) { p.Steps[0].On = "etcd" },
		"step 1 (a): Check, Apply and Verify must be set":                       func(p *P) { p.Steps[0].Verify = nil },
		"step 1 (a): exactly one of Undo and OneWay must be set":                func(p *P) { p.Steps[0].OneWay = "" },
		"step 2 (b/c-2): exactly one of Undo and OneWay must be set":            func(p *P) { p.Steps[1].Undo = func(context.Context, writer, Before) error { return nil } },
		"step 1 (a): Settle must be more than 0":                                func(p *P) { p.Steps[0].Settle = 0 },
		"step 1 (a): Outage must not be negative":                               func(p *P) { p.Steps[0].Outage = -1 },
		`step 1 (a): needs "b/c-2", which is no earlier step of this phase`:     func(p *P) { p.Steps[0].Needs = []StepID{"b/c-2"} },
		"step 1 (a): a step in a group must have an Undo":                       func(p *P) { p.Steps[0].Group = "x" },
		"step 1 (a): a step in a group must have an Undo and must not be Ro":    func(p *P) { grouped(&p.Steps[0]); p.Steps[0].Rolling = true },
		`step 3 (c): the steps of the group "b" do not stand next to each ot`:   func(p *P) { p.Steps = []S{step("a", Once, grouped), step("b", Once), step("c", Once, grouped)} },
		`step 2 (b/c-2): needs "nowhere", which is no earlier step of this pha`: func(p *P) { p.Steps[1].Needs = []StepID{"a", "nowhere"} },
	} {
		p := good()
		spoil(&p)
		if err := Validate(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestValidateTellsAllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	err := Validate(phase(Step[reader, writer]{}))
	if got := strings.Count(err.Error(), "\n") + 1; got != 6 {
		t.Errorf("%d mistakes:\n%v", got, err)
	}
}

func TestFingerprintIsOfWhatIsDoneNotOfItsWords(t *testing.T) {
	t.Parallel()
	base := func() Phase[reader, writer] {
		return phase(step("a", Once), step("b", Workers, needs("a")), step("c", Workers))
	}
	same := base()
	same.Title, same.Steps[0].Title, same.Steps[0].Why, same.Steps[1].ByHand = "x", "y", "z", "w"
	grouped(&same.Steps[0]) // what is undone on a failure is not what is done
	if Fingerprint(base()) != Fingerprint(same) {
		t.Error("other words changed the fingerprint")
	}
	seen := map[string]string{Fingerprint(base()): "nothing"}
	for name, change := range map[string]func(*Phase[reader, writer]){
		"number":  func(p *Phase[reader, writer]) { p.Number = 3 },
		"id":      func(p *Phase[reader, writer]) { p.Steps[0].ID = "a2" },
		"on":      func(p *Phase[reader, writer]) { p.Steps[0].On = FirstControlPlane },
		"needs":   func(p *Phase[reader, writer]) { p.Steps[2].Needs = []StepID{"a"} },
		"rolling": func(p *Phase[reader, writer]) { p.Steps[2].Rolling = true },
		"order":   func(p *Phase[reader, writer]) { p.Steps[1], p.Steps[2] = p.Steps[2], p.Steps[1] },
		"fewer":   func(p *Phase[reader, writer]) { p.Steps = p.Steps[:2] },
	} {
		p := base()
		change(&p)
		f := Fingerprint(p)
		if other, taken := seen[f]; taken {
			t.Errorf("%s gives the fingerprint of %s", name, other)
		}
		seen[f] = name
	}
}
