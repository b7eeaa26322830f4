package hostfiles_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"testing"

	"hamigrate/internal/source"
	"hamigrate/migrate/hostfiles"

	"hamigrate/migrate/remote"
)

// answering is a host whose looks end with an error.
type answering struct {
	remote.Reader
	err error
}

func (a answering) Look(context.Context, remote.Command) (string, error) { return "", a.err }

// TestSays: only what the command itself says is a no.
func TestSays(t *testing.T) {
	t.Parallel()
	silent := errors.New("no answer within 45 s")
	cut := fmt.Errorf("running `test`: %w", remote.ErrUnknownOutcome)
	signal := &remote.ExitError{Status: 137}
	for _, test := range []struct {
		err, want error
		yes       bool
	}{
		{nil, nil, true},
		{&remote.ExitError{Status: 1}, nil, false},
		{fmt.Errorf("on cp1: %w", &remote.ExitError{Status: 127}), nil, false},
		{signal, signal, false},
		{silent, silent, false},
		{cut, cut, false},
		{context.DeadlineExceeded, context.DeadlineExceeded, false},
	} {
		if yes, err := hostfiles.Confirms(t.Context(), answering{err: test.err}, remote.Cmd("test", "-s", "/x")); yes != test.yes || !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%v: %v, %v", test.err, yes, err)
		}
	}
}

// TestNoLookIsTakenForANo: whoever looks does something with the error, and does
// not only ask whether there is one. Says is for those who want to know that.
func TestNoLookIsTakenForANo(t *testing.T) {
	t.Parallel()
	looks := 0
	source.Each(t, func(f source.File) {
		for _, l := range looksIn(f.AST) {
			if looks++; l.lost() && !toldOfAnError[l.in] {
				t.Errorf("%s: an error of Look is only compared with nil: use phases.Says, or pass it on", f.At(l.at))
			}
		}
	})
	if looks < 50 {
		t.Errorf("only %d looks were found", looks)
	}
}

// toldOfAnError are functions that look for words to add to an error. There are
// none where the look fails.
var toldOfAnError = map[string]bool{"lastWords": true, "why": true} //nolint:gochecknoglobals // it is a constant

// aLook is a call of Look, the name of its error, and the code behind it.
type aLook struct {
	in     string // the function
	at     ast.Node
	err    string
	behind []ast.Node
}

// looksIn finds the calls of Look whose results are named.
func looksIn(file *ast.File) []aLook {
	var out []aLook
	in := ""
	add := func(s ast.Stmt, behind ...ast.Node) {
		assign, ok := s.(*ast.AssignStmt)
		if !ok || len(assign.Rhs) != 1 || len(assign.Lhs) != 2 {
			return
		}
		call, isCall := assign.Rhs[0].(*ast.CallExpr)
		if !isCall {
			return
		}
		method, isMethod := call.Fun.(*ast.SelectorExpr)
		name, isName := assign.Lhs[1].(*ast.Ident)
		if isMethod && method.Sel.Name == "Look" && isName {
			out = append(out, aLook{in, assign, name.Name, behind})
		}
	}
	list := func(all []ast.Stmt) {
		for i, s := range all {
			var behind []ast.Node
			for _, next := range all[i+1:] {
				behind = append(behind, next)
			}
			add(s, behind...)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			in = n.Name.Name
		case *ast.BlockStmt:
			list(n.List)
		case *ast.CaseClause:
			list(n.Body)
		case *ast.IfStmt:
			if n.Init != nil {
				add(n.Init, &ast.IfStmt{Cond: n.Cond, Body: n.Body, Else: n.Else})
			}
		}
		return true
	})
	return out
}

// lost says whether the first statement that has to do with the error only
// compares it with nil.
func (l aLook) lost() bool {
	for _, n := range l.behind {
		compared, used := l.uses(n)
		if used || compared {
			return !used
		}
	}
	return false // it is a result of the function
}

// uses says whether the error is compared with nil, and whether it is used
// otherwise.
func (l aLook) uses(n ast.Node) (compared, used bool) {
	is := func(e ast.Expr, name string) bool {
		ident, ok := e.(*ast.Ident)
		return ok && ident.Name == name
	}
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if is(n.X, l.err) && is(n.Y, "nil") {
				compared = true
				return false
			}
		case *ast.Ident:
			used = used || n.Name == l.err
		}
		return true
	})
	return compared, used
}
