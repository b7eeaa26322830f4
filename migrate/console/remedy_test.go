package console

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/phases/preflight"
)

// TestAllowedByALineThatCanBePasted: the command that allows what a login was
// refused stands on a line of its own, whoever wraps the error.
func TestAllowedByALineThatCanBePasted(t *testing.T) {
	t.Parallel()
	spec, err := cluster.Parse("../../testdata/migrate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := &run.Session{Spec: spec, Access: phases.NewAccess(spec, &remotetest.Logins{OnlyLook: []string{"cp1", "lb1"}})}
	several := run.MayChange(t.Context(), s, []string{"cp1", "lb1", "w1"})
	cp2 := errors.Join(remotetest.LooksOnly("cp2"))
	refused := &remote.RefusedError{Host: "cp2", User: "ops", Command: "nft list", Allow: remotetest.LooksOnly("cp2").Allow}
	row := preflight.Result{Number: 1, Check: "Ports", Host: "cp2", Severity: preflight.Blocking, Phases: []int{1}, Seen: "not looked at", Remedy: "allow it with: " + refused.Allow, Command: refused.Allow}
	where := migrate.Where{Phase: 1, Step: "a/step", Target: "cp2"}
	for what, c := range map[string]struct {
		err   error
		hosts []string
	}{
		"alone":                  {remotetest.LooksOnly("cp2"), []string{"cp2"}},
		"several":                {several, []string{"cp1", "lb1"}},
		"in a step":              {&migrate.StepError{Where: where, Op: migrate.OpApply, Err: cp2}, []string{"cp2"}},
		"a look in a step":       {&migrate.StepError{Where: where, Op: migrate.OpCheck, Err: refused}, []string{"cp2"}},
		"why it is blocked":      {&migrate.BlockedError{Where: where, Err: refused, Reason: "not well: " + refused.Error(), Remedy: "fix that"}, []string{"cp2"}},
		"what preflight asks of": {run.Refuse(1, []preflight.Result{row}), []string{"cp2"}},
		"several, wrapped":       {&migrate.StepError{Where: where, Err: several}, []string{"cp1", "lb1"}},
	} {
		shown := string(Lines(c.err, " --file a.yaml"))
		for _, host := range c.hosts {
			if !hasLine(shown, remotetest.LooksOnly(host).Allow) {
				t.Errorf("%s: the command for %s can't be pasted:\n%s", what, host, shown)
			}
		}
		if strings.Contains(shown, show.Continued) {
			t.Errorf("%s: lines of ours are shown as those of others:\n%s", what, shown)
		}
	}
	var out strings.Builder
	PrintBad(&out, row, false)
	if !hasLine(out.String(), refused.Allow) {
		t.Errorf("a row of preflight: %s", out.String())
	}
}

func hasLine(text, want string) bool {
	return slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool { return strings.TrimSpace(line) == want })
}
