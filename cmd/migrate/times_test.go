package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestTimesAreUTC: what status, the report, the log and another operator's
// terminal say of one moment is the same text. So no time is shown in the zone of
// the machine at hand.
func TestTimesAreUTC(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, root := range []string{".", filepath.Join("..", "..", "phases"), filepath.Join("..", "..", "state"), filepath.Join("..", "..", "migrate")} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			seen++
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if ok && localTime(call) {
					t.Errorf("%s shows a time in the zone of this machine: make it UTC, and say so", path)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 200 {
		t.Errorf("only %d files were seen", seen)
	}
}

// localTime says whether a call is x.Local(), or time.Now().Format(…).
func localTime(call *ast.CallExpr) bool {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	if method.Sel.Name == "Local" && len(call.Args) == 0 {
		return true
	}
	of, ok := method.X.(*ast.CallExpr)
	if !ok || method.Sel.Name != "Format" {
		return false
	}
	now, ok := of.Fun.(*ast.SelectorExpr)
	return ok && now.Sel.Name == "Now"
}
