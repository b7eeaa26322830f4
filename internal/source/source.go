// Package source gives tests the program's own text: a rule that holds for all of
// it is looked for in all of it.
package source

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// File is one file of the program.
type File struct {
	Name  string // from the module's root, with slashes
	AST   *ast.File
	Lines int
	set   *token.FileSet
}

// At is where something of the file stands.
func (f File) At(n ast.Node) token.Position { return f.set.Position(n.Pos()) }

// End is where something of the file ends.
func (f File) End(n ast.Node) token.Position { return f.set.Position(n.End()) }

// In says whether the file is in one of the folders, each named from the root.
func (f File) In(folders ...string) bool {
	for _, dir := range folders {
		if strings.HasPrefix(f.Name, dir+"/") {
			return true
		}
	}
	return false
}

// fewest is how many files there are at least: a walk that has missed the program
// must not pass for one that found nothing.
const fewest = 300

// Each calls look with each Go file of the program that is no test.
func Each(t testing.TB, look func(File)) {
	t.Helper()
	EachWithTests(t, func(f File) {
		if !strings.HasSuffix(f.Name, "_test.go") {
			look(f)
		}
	})
}

// EachWithTests calls look with each Go file of the program, tests included.
func EachWithTests(t testing.TB, look func(File)) {
	t.Helper()
	root, seen := top(t), 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "out" || name == "bin" || name == "dist") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f := File{Name: filepath.ToSlash(name), set: token.NewFileSet()}
		if f.AST, err = parser.ParseFile(f.set, path, nil, parser.SkipObjectResolution|parser.ParseComments); err != nil {
			return err
		}
		f.Lines = f.set.File(f.AST.FileStart).LineCount() - 1 // after the last line break there is none
		seen++
		look(f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < fewest {
		t.Fatalf("only %d files were seen: the walk has missed the program", seen)
	}
}

// top is the module's root, above the package whose test runs.
func top(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("no go.mod stands above the test (%v)", err)
	return ""
}

// Calls calls look with each call of a function or method by a name with a dot, as
// fmt.Println is; of is what stands before the last dot, "" where that is no name.
func (f File) Calls(look func(call *ast.CallExpr, of, name string)) {
	ast.Inspect(f.AST, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if s, ok := call.Fun.(*ast.SelectorExpr); ok {
			of := ""
			if x, ok := s.X.(*ast.Ident); ok {
				of = x.Name
			}
			look(call, of, s.Sel.Name)
		}
		return true
	})
}
