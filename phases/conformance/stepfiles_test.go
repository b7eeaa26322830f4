package conformance_test

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"

	"hamigrate/internal/source"
	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/balancer/haproxy"
	"hamigrate/phases/balancer/nginx"
	"hamigrate/phases/certs"
	"hamigrate/phases/etcd"
	"hamigrate/phases/restore"
)

// stepFolders are the folders in which each step has a file of its own, with
// the phase that declares its steps.
func stepFolders() map[string]phases.Phase {
	return map[string]phases.Phase{
		"phases/balancer/nginx":   {Steps: nginx.Balancer().Steps},
		"phases/balancer/haproxy": {Steps: haproxy.Balancer().Steps},
		"phases/certs":            certs.Phase(certs.Options{}),
		"phases/etcd/external":    etcd.Phase(),
		"phases/restore":          restore.Phase(restore.Options{}),
	}
}

// declaredElsewhere are steps that a phase takes from another folder, by the
// beginning of their names.
var declaredElsewhere = []string{"overlap-"}

// TestEveryStepHasAFile: whoever looks for a step finds it by its name, and the
// way back beside the way there. etcd/archive-data is the function archiveData
// in archive_data.go, and what it names as Apply and as Undo is in that file.
func TestEveryStepHasAFile(t *testing.T) {
	t.Parallel()
	files := map[string]*ast.File{}
	source.Each(t, func(f source.File) { files[f.Name] = f.AST })
	for folder, p := range stepFolders() {
		for _, s := range p.Steps {
			_, name, _ := strings.Cut(string(s.ID), "/")
			if slices.ContainsFunc(declaredElsewhere, func(begin string) bool { return strings.HasPrefix(name, begin) }) {
				continue
			}
			file := path.Join(folder, strings.ReplaceAll(name, "-", "_")+".go")
			if files[file] == nil {
				t.Errorf("%s has no %s", s.ID, file)
				continue
			}
			for _, problem := range notBeside(files[file], s.ID) {
				t.Errorf("%s: %s", file, problem)
			}
		}
	}
}

// notBeside says what of a step is not in its file: its function, and those that
// are its Apply and its Undo.
func notBeside(file *ast.File, id migrate.StepID) []string {
	_, name, _ := strings.Cut(string(id), "/")
	here, found := map[string]bool{}, false
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			here[f.Name.Name] = true
			found = found || strings.EqualFold(f.Name.Name, strings.ReplaceAll(name, "-", "")) && returnsStep(f)
		}
	}
	var bad []string
	if !found {
		bad = append(bad, "there is no function that declares "+string(id))
	}
	for _, fn := range changing(file) {
		if !here[fn] {
			bad = append(bad, fn+" of "+string(id)+" is in another file")
		}
	}
	return bad
}

func returnsStep(f *ast.FuncDecl) bool {
	if f.Type.Results == nil || len(f.Type.Results.List) != 1 {
		return false
	}
	sel, ok := f.Type.Results.List[0].Type.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "Step"
}

// changing are the functions that a file's steps name as Apply and as Undo, in a
// literal or by assigning to the field.
func changing(file *ast.File) []string {
	var names []string
	add := func(field, value ast.Expr) {
		if name := lastName(field); name != "Apply" && name != "Undo" {
			return
		}
		if call, ok := value.(*ast.CallExpr); ok {
			value = call.Fun
		}
		if name := lastName(value); name != "" {
			names = append(names, name)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			add(n.Key, n.Value)
		case *ast.AssignStmt:
			for i := range n.Lhs {
				if n.Tok == token.ASSIGN && len(n.Lhs) == len(n.Rhs) {
					add(n.Lhs[i], n.Rhs[i])
				}
			}
		}
		return true
	})
	return names
}

func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}
