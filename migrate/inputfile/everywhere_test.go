package inputfile

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// elsewhere are the files of the program that open files without this package, or
// the folders of them, and why they may.
func elsewhere() map[string]string {
	return map[string]string{
		"migrate/inputfile/":         "this package",
		"migrate/remote/remotetest/": "a test's hosts",
		"phases/phasestest/":         "a test's world",
		"migrate/playground/":        "what the playground has made itself, and /proc",
		"migrate/nodeprobe/":         "the program itself, and what the kubelet mounts",
		"migrate/backup/":            "what a backup holds is as large as the cluster's data: it is streamed, and its size checked",
		"state/":                     "the journal, which is looked at before it is opened, and its own folder",
		"cmd/migrate/localfiles.go":  "streams what a backup holds to a host",
		"cmd/migrate/restore.go":     "the program itself: its checksum, streamed",
		"e2e/":                       "tests",
	}
}

// TestFilesAreReadHere: a file that an operator names is read up to a bound, so
// there is one way to read it. Whoever opens files elsewhere says why.
func TestFilesAreReadHere(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	used := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			of, ok := call.X.(*ast.Ident)
			if !ok || of.Name != "os" || call.Sel.Name != "ReadFile" && call.Sel.Name != "Open" {
				return true
			}
			if at := allowed(filepath.ToSlash(name)); at != "" {
				used[at] = true
			} else {
				t.Errorf("%s calls os.%s: what an operator names is read with inputfile.Kind, which has a bound", name, call.Sel.Name)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(used) < 5 {
		t.Errorf("only %d of the places that are allowed were seen: the walk has missed the program", len(used))
	}
}

func allowed(name string) string {
	for at := range elsewhere() {
		if name == at || strings.HasSuffix(at, "/") && strings.HasPrefix(name, at) {
			return at
		}
	}
	return ""
}
