package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hamigrate/phases"
	"hamigrate/phases/migration"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

// TestPlaybooksAreTheDeclaration: what is committed under playbooks/ is what
// `migrate playbook` prints for the example spec. After a change of a phase:
//
//	go test ./cmd/migrate -run Playbooks -update
//
// and read what has changed before it is committed: people work by it.
func TestPlaybooksAreTheDeclaration(t *testing.T) {
	for _, p := range migration.Phases(phases.Overlap) {
		file := filepath.Join("..", "..", "playbooks", fmt.Sprintf("phase-%d-%s.md", p.Number, p.Name))
		var out bytes.Buffer
		app := newApp()
		app.Writer = &out
		err := app.Run([]string{"migrate", "playbook", "--file", "../../testdata/migrate.yaml", "--phase", fmt.Sprint(p.Number)})
		if err != nil {
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
			t.Errorf("%s is not what the declaration gives (run this test with -update, and read what has changed):\n%s", file, diff)
		}
	}
}
