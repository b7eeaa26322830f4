package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/console"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/phases/preflight"
	"hamigrate/state"
)

// remedyLogins are hosts whose remedyLogins may change something, but to those named.
type remedyLogins struct {
	onlyLook []string
	mu       sync.Mutex
	asked    []string
}

func (l *remedyLogins) Host(_ context.Context, h cluster.Host) (remote.Host, error) {
	return &remedyLogin{remedyLogins: l, name: h.Name}, nil
}

type remedyLogin struct {
	remote.Host
	remedyLogins *remedyLogins
	name         string
}

func (l *remedyLogin) Look(context.Context, remote.Command) (string, error) { return "yes", nil }

func (l *remedyLogin) MayChange(context.Context) error {
	l.remedyLogins.mu.Lock()
	defer l.remedyLogins.mu.Unlock()
	l.remedyLogins.asked = append(l.remedyLogins.asked, l.name)
	if slices.Contains(l.remedyLogins.onlyLook, l.name) {
		return onlyLooks(l.name)
	}
	return nil
}

func onlyLooks(name string) error {
	return &remote.LooksOnlyError{Host: name, User: "ops", Allow: "migrate sudoers --file a.yaml --host " + name + " | ssh root@" + name + " 'x'"}
}

// remedySession is a session on the example's cluster, over these remedyLogins.
func remedySession(t *testing.T, l *remedyLogins) (*run.Session, *state.Journal) {
	t.Helper()
	spec, err := cluster.Parse("../../testdata/migrate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	j, err := state.Open(t.TempDir()+"/journal", state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return &run.Session{Spec: spec, Access: phases.NewAccess(spec, l)}, j
}

// TestAllowedByALineThatCanBePasted: the command that allows what a login was
// refused stands on a line of its own, whoever wraps the error.
func TestAllowedByALineThatCanBePasted(t *testing.T) {
	t.Parallel()
	l := &remedyLogins{onlyLook: []string{"cp1", "lb1"}}
	s, _ := remedySession(t, l)
	several := run.MayChange(t.Context(), s, []string{"cp1", "lb1", "w1"})
	cp2 := errors.Join(onlyLooks("cp2"))
	refused := &remote.RefusedError{Host: "cp2", User: "ops", Command: "nft list", Allow: onlyLooks("cp2").(*remote.LooksOnlyError).Allow}
	row := preflight.Result{Number: 1, Check: "Ports", Host: "cp2", Severity: preflight.Blocking, Phases: []int{1}, Seen: "not looked at", Remedy: "allow it with: " + refused.Allow, Command: refused.Allow}
	where := migrate.Where{Phase: 1, Step: "a/step", Target: "cp2"}
	for what, c := range map[string]struct {
		err   error
		hosts []string
	}{
		"alone":                  {onlyLooks("cp2"), []string{"cp2"}},
		"several":                {several, []string{"cp1", "lb1"}},
		"in a step":              {&migrate.StepError{Where: where, Op: migrate.OpApply, Err: cp2}, []string{"cp2"}},
		"a look in a step":       {&migrate.StepError{Where: where, Op: migrate.OpCheck, Err: refused}, []string{"cp2"}},
		"why it is blocked":      {&migrate.BlockedError{Where: where, Err: refused, Reason: "not well: " + refused.Error(), Remedy: "fix that"}, []string{"cp2"}},
		"what preflight asks of": {run.Refuse(1, []preflight.Result{row}), []string{"cp2"}},
		"several, wrapped":       {&migrate.StepError{Where: where, Err: several}, []string{"cp1", "lb1"}},
	} {
		shown := string(console.Lines(c.err, " --file a.yaml"))
		for _, host := range c.hosts {
			if !hasLine(shown, onlyLooks(host).(*remote.LooksOnlyError).Allow) {
				t.Errorf("%s: the command for %s can't be pasted:\n%s", what, host, shown)
			}
		}
		if strings.Contains(shown, show.Continued) {
			t.Errorf("%s: lines of ours are shown as those of others:\n%s", what, shown)
		}
	}
	var out strings.Builder
	console.PrintBad(&out, row, false)
	if !hasLine(out.String(), refused.Allow) {
		t.Errorf("a row of preflight: %s", out.String())
	}
}

func hasLine(text, want string) bool {
	return slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool { return strings.TrimSpace(line) == want })
}
