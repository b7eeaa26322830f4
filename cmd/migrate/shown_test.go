package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"testing"

	"hamigrate/internal/source"
)

// around are the places that write in another way than through package show, and
// why they may.
var around = map[string]string{
	"cmd/migrate/completion.go: io.WriteString":   "a script of ours for the shell",
	"migrate/initlook/result.go: f.Write":         "a file",
	"cmd/migrate/cliflags/manual.go: fmt.Fprintf": "into a builder, of the commands' own texts",
	"migrate/support/archive.go: out.Write":       "into an archive",
	"cmd/migrate/heldup.go: file.Write":           "an output behind show.Guard",
	"cmd/migrate/sudoers.go: io.WriteString":      "a file for sudo, in which only names that it takes stand",
	"cmd/migrate/cliflags/manual.go: w.Write":     "the manual, of the commands' own texts",
	"migrate/run/restore_choose.go: io.Copy":      "a file, to its checksum",
	"migrate/console/plan.go: w.Write":            "YAML, which is for programs; show.Guard stands behind it",
}

// outputs are the files that name the program's outputs: to make the App's of them,
// and to tell in an archive whether they are terminals.
var outputs = map[string]bool{"cmd/migrate/main.go": true, "migrate/support/here.go": true}

// printers are the packages that write what a person reads.
var printers = []string{"cmd/migrate", "migrate/commandlog", "migrate/console", "migrate/initlook", "migrate/lease", "migrate/rehearsal", "migrate/report", "migrate/run", "migrate/support"}

// TestNoWayAroundTheQuoting: cmd/migrate prints through package show, and nobody
// else prints at all; and nothing that is no constant is called the program's own
// text. JSON is for programs, quotes by itself, and has show.Guard behind it.
func TestNoWayAroundTheQuoting(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	source.Each(t, func(f source.File) {
		if f.In("migrate/show", "phases/conformance", "phases/simulator") {
			return
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && !outputs[f.Name] && (isName(s, "os", "Stdout") || isName(s, "os", "Stderr")) {
				t.Errorf("%s: os.%s is the App's alone", f.At(n), s.Sel.Name)
			}
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			s, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if isName(s, "show", "Own") && !isConstant(call.Args[0]) {
				t.Errorf("%s: only a constant is the program's own text: quote the rest with show.Sprintf or show.Foreign", f.At(n))
			}
			if prints(s) || f.In(printers...) && writes(s) {
				place := fmt.Sprintf("%s: %s.%s", f.Name, s.X, s.Sel.Name)
				if around[place] == "" {
					t.Errorf("%s: %s.%s goes around the quoting: use show.Fprintf", f.At(n), s.X, s.Sel.Name)
				}
				used[place] = true
			}
			return true
		})
	})
	for place := range around {
		if !used[place] {
			t.Errorf("%s is no longer there: take it off the list", place)
		}
	}
}

func isName(s *ast.SelectorExpr, pkg, name string) bool {
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg && s.Sel.Name == name
}

// prints is a call that could only be meant for somebody who reads.
func prints(s *ast.SelectorExpr) bool {
	return isName(s, "fmt", "Print") || isName(s, "fmt", "Printf") || isName(s, "fmt", "Println")
}

// writes is a call that brings text to a writer, whatever that is.
func writes(s *ast.SelectorExpr) bool {
	for _, of := range [][2]string{{"fmt", "Fprint"}, {"fmt", "Fprintf"}, {"fmt", "Fprintln"}, {"io", "WriteString"}, {"io", "Copy"}} {
		if isName(s, of[0], of[1]) {
			return true
		}
	}
	x, ok := s.X.(*ast.Ident)
	return ok && s.Sel.Name == "Write" && x.Name != "initspec"
}

func isConstant(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	return ok && lit.Kind == token.STRING
}
