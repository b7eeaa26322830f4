package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"strings"
	"testing"

	"hamigrate/internal/source"

	"hamigrate/migrate"
	"hamigrate/state"
)

// TestErrorsInLines: what to do stands on a line of its own, and a command in a
// long sentence as well; both are about the cluster that was named.
func TestErrorsInLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", longSentence)
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("no route to host"), "no route to host"},
		{errors.New("`migrate status` shows it"), "`migrate status --file a.yaml` shows it"},
		{errors.New("`migrate status --file b.yaml` shows it"), "`migrate status --file b.yaml` shows it"},
		{errors.New("`migrate init root@HOST` writes one, `migrate man` too"), "`migrate init root@HOST` writes one, `migrate man` too"},
		{errors.New(long + ": `migrate certs renew --within 30d` mends it"), long + ": `migrate certs renew --file a.yaml --within 30d` mends it\n  migrate certs renew --file a.yaml --within 30d"},
		{errors.New(long + "; trust it with: ssh-keyscan -t x 192.0.2.1 >> 'known hosts' (or trust all: --accept-new-host-keys)"),
			long + "; trust it with:\n  ssh-keyscan -t x 192.0.2.1 >> 'known hosts'\n  (or trust all: --accept-new-host-keys)"},
		{errors.New(long + "; put it into an agent with: ssh-add /keys/a"), long + "; put it into an agent with:\n  ssh-add /keys/a"},
		{errors.New(long + "; see what your own ssh says: ssh -i '/x y/$(id);`a`'\\''b' 'o;id@192.0.2.1' true"),
			long + "; see what your own ssh says:\n  ssh -i '/x y/$(id);`a`'\\''b' 'o;id@192.0.2.1' true"},
		{errors.New(long + ": reading 'a: ssh -o b (c)': no: ssh x;y z"), long + ": reading 'a: ssh -o b (c)': no: ssh x;y z"},
		{errors.New(long + ": ssh is not there"), long + ": ssh is not there"},
		{errors.New(long + "; put one into an agent with: ssh-add"), long + "; put one into an agent with:\n  ssh-add"},
		{errors.New("short: ssh-add a"), "short: ssh-add a"},
		{errors.New("ada migrates this cluster (`migrate run`, journal j there). `migrate unlock` looks"), "ada migrates this cluster (`migrate run`, journal j there). `migrate unlock --file a.yaml` looks"},
		{errors.New("`migrate plan` takes no word"), "`migrate plan` takes no word"},
		{errors.New("`migrate run FILE` does it"), "`migrate run --file a.yaml FILE` does it"},
		{&migrate.BlockedError{Where: migrate.Where{Phase: 2}, Reason: "it is so", Remedy: "first: `migrate rollback --phase 3`"},
			"phase 2 is blocked: it is so\n  What to do: first: `migrate rollback --file a.yaml --phase 3`"},
		{&state.FormatError{Path: "j"}, "j is not a journal of this program, or it is damaged: name another file with --journal, or move a damaged one away and let `migrate adopt --file a.yaml` rebuild it from the cluster\n  migrate adopt --file a.yaml"},
	} {
		if got := string(inLines(c.err, " --file a.yaml")); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// TestAReasonIsToldOnce: a host that is not reached is why the run ended and why
// nothing is seen of the API and of etcd.
func TestAReasonIsToldOnce(t *testing.T) {
	t.Parallel()
	cause := errors.New("connecting to cp1: connection refused")
	c := &ending{told: &migrate.StepError{Err: cause}}
	for what, err := range map[string]error{
		"not seen, for the same reason": cause,
		"not seen: others":              errors.New("others\nand more"),
	} {
		if got := c.because("not seen", err); got != what {
			t.Errorf("%s, want %s", got, what)
		}
	}
	reset := &ending{told: errors.New("read tcp 192.0.2.1:40001->192.0.2.11:22: connection reset")}
	if got := reset.because("not seen", errors.New("read tcp 192.0.2.1:40002->192.0.2.11:22: connection reset")); got != "not seen, for the same reason" {
		t.Error(got)
	}
	wider := &ending{told: cause}
	if got := wider.because("is not ready", fmt.Errorf("reaching the API: %w", cause)); got != "is not ready, for the same reason" {
		t.Error(got)
	}
}

// TestNextCommandsAreMadeInOnePlace: a command that is proposed without the flags
// that name the cluster leads to another one, or nowhere.
func TestNextCommandsAreMadeInOnePlace(t *testing.T) {
	t.Parallel()
	bare := regexp.MustCompile(`(?i)(next|tells|first by %s): migrate `)
	source.Each(t, func(f source.File) {
		if !f.In("cmd/migrate") {
			return
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING && bare.MatchString(text.Value) && !strings.Contains(text.Value, "migrate plan -f %s") {
				t.Errorf("%s proposes a command without the flags that were given: %s", f.At(n), text.Value)
			}
			return true
		})
	})
}
