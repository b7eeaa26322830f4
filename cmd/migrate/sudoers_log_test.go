package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSudoersLeavesNothingBehind: it reads the spec, and begins no log.
func TestSudoersLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	spec := filepath.Join(t.TempDir(), "migrate.yaml")
	if err := os.WriteFile(spec, []byte(supportSpec), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := execute([]string{"migrate", "sudoers", "--file", spec}); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if files, err := os.ReadDir(filepath.Dir(spec)); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}
