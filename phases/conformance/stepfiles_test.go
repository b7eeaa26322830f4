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

	"hamigrate/phases/certs"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"
	"hamigrate/phases/restore"
)

// stepFolders are the phases with the folders in which each of their steps has a
// file of its own.
func stepFolders() map[string]struct {
	steps   []phases.Step
	folders []string
} {
	type declared = struct {
		steps   []phases.Step
		folders []string
	}
	return map[string]declared{
		"loadbalancer": {loadbalancer.Phase().Steps, []string{"phases/loadbalancer", "phases/balancer/nginx", "phases/balancer/haproxy"}},
		"etcd":         {etcd.Phase().Steps, []string{"phases/etcd/external"}},
		"controlplane": {controlplane.Phase().Steps, []string{"phases/controlplane"}},
		"certs":        {certs.Phase(certs.Options{}).Steps, []string{"phases/certs"}},
		"restore":      {restore.Phase(restore.Options{}).Steps, []string{"phases/restore"}},
	}
}

// fileOf is the name of a step's file in one of the folders, without its ending.
// The steps of an overlapped restart are the same for each phase that has one, and
// are in a folder of theirs, whose name is what their IDs begin with.
func fileOf(id migrate.StepID, folders []string) (names []string) {
	_, name, _ := strings.Cut(string(id), "/")
	if part, ok := strings.CutPrefix(name, "overlap-"); ok {
		// The ID is in journals, and the word it has is one for another thing today.
		return []string{"phases/overlap/" + strings.ReplaceAll(part, "twin", "temporary")}
	}
	for _, folder := range folders {
		names = append(names, folder+"/"+strings.ReplaceAll(name, "-", "_"))
	}
	return names
}

// TestEveryStepHasAFile: whoever looks for a step finds it by its name, and the
// way back beside the way there. etcd/archive-data is the function archiveData
// in archive_data.go, and what it names as Apply and as Undo is in that file.
func TestEveryStepHasAFile(t *testing.T) {
	t.Parallel()
	files := map[string]*ast.File{}
	source.Each(t, func(f source.File) { files[f.Name] = f.AST })
	for phase, declared := range stepFolders() {
		for _, s := range declared.steps {
			names := fileOf(s.ID, declared.folders)
			there := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return files[name+".go"] == nil })
			if len(there) != 1 {
				t.Errorf("phase %s: of %s there is to be one of %q, there are %q", phase, s.ID, names, there)
				continue
			}
			for _, problem := range notBeside(files[there[0]+".go"], path.Base(there[0])) {
				t.Errorf("%s.go, %s: %s", there[0], s.ID, problem)
			}
		}
	}
}

// notBeside says what of a step is not in its file: its function, of the file's
// name, and those that are its Apply and its Undo.
func notBeside(file *ast.File, name string) []string {
	here, found := map[string]bool{}, false
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			here[f.Name.Name] = true
			found = found || strings.EqualFold(f.Name.Name, strings.ReplaceAll(name, "_", "")) && returnsStep(f)
		}
	}
	var bad []string
	if !found {
		bad = append(bad, "there is no function that declares it")
	}
	for _, fn := range changing(file) {
		if !here[fn] {
			bad = append(bad, fn+" is in another file")
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
