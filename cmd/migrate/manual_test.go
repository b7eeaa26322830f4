package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hamigrate/cmd/migrate/cliflags"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

// TestManualIsUpToDate: docs/cli.md is what the commands give. After a change
// of one: `make generate`, or go test ./cmd/migrate -run Manual -update
func TestManualIsUpToDate(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "cli.md")
	var out bytes.Buffer
	app := newApp()
	app.Setup() // adds the flags that every app has, as running it does
	if err := manualOf(app).Markdown(&out); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(committed), out.String()); diff != "" {
		t.Errorf("docs/cli.md is not what the commands give (`make generate` writes it):\n%s", diff)
	}
}

// TestManualHasEverything: every command and every flag that is not hidden is
// in the manual page and in docs/cli.md.
func TestManualHasEverything(t *testing.T) {
	t.Parallel()
	app := newApp()
	var man, page bytes.Buffer
	if err := manualOf(app).Man(&man); err != nil {
		t.Fatal(err)
	}
	if err := manualOf(app).Markdown(&page); err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer(`\-`, "-", `\`, "").Replace(man.String())
	if !strings.HasPrefix(strings.TrimPrefix(plain, ".nhn"), ".TH migrate 8") && !strings.Contains(plain, `.TH "migrate" "8"`) && !strings.Contains(plain, ".TH migrate 8") {
		t.Errorf("the page's head is %q", strings.SplitN(plain, "\n", 4)[:3])
	}
	n := 0
	cliflags.Walk(app.Commands, "migrate", func(name string, cmd *cli.Command) {
		n++
		for what, text := range map[string]string{"the manual page": plain, "docs/cli.md": page.String()} {
			if !strings.Contains(text, name) {
				t.Errorf("%s has no %q", what, name)
			}
			for _, f := range cliflags.OwnFlags(app, cmd) {
				if !strings.Contains(text, "--"+f.Names()[0]) {
					t.Errorf("%s has no --%s of %s", what, f.Names()[0], name)
				}
			}
		}
	})
	if n < 12 {
		t.Errorf("only %d commands were looked at", n)
	}
	if strings.Contains(page.String(), probeAgentName) {
		t.Error("a hidden command is shown")
	}
}
