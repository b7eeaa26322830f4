package balancers_test

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"

	"hamigrate/internal/source"
	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
	"hamigrate/phases/balancers"
)

// TestEachKindIsWhole: the rest asks a kind without asking which it is, so each
// has all parts.
func TestEachKindIsWhole(t *testing.T) {
	t.Parallel()
	for _, b := range balancers.All() {
		missing := []string{}
		for what, is := range map[string]bool{
			"Kind": b.Kind != "", "Machine": b.Machine != "", "Check": b.Check != nil, "Verify": b.Verify != nil, "Begun": b.Begun != nil,
			"Forwards": b.Forwards != nil, "Backends": b.Backends != nil, "First": b.First != nil, "ByHand": b.ByHand != nil,
			"Ahead.Configuration": b.Ahead.Configuration != nil || !b.Configured(), "Ahead.Installation": b.Ahead.Installation != nil || !b.Configured(),
			"Serves": b.Serves == balancer.EndpointID && !b.Configured() || slices.ContainsFunc(b.Steps, func(s phases.Step) bool { return s.ID == b.Serves && s.Undo != nil }),
		} {
			if !is {
				missing = append(missing, what)
			}
		}
		if len(missing) > 0 {
			t.Errorf("%s lacks %q", b.Kind, missing)
			continue
		}
		for name, text := range b.ByHand(cluster.Spec{}).Parts() {
			if strings.TrimSpace(text) == "" && (b.Configured() || name != "balancer-configuration") {
				t.Errorf("%s does not say what to do by hand for %s", b.Kind, name)
			}
		}
	}
}

// TestOfChoosesByTheSpec: each kind is chosen by its name, and no step has the ID
// of another kind's.
func TestOfChoosesByTheSpec(t *testing.T) {
	t.Parallel()
	of := map[migrate.StepID]string{}
	for _, b := range balancers.All() {
		if got := balancers.Of(cluster.Spec{LoadBalancer: cluster.LoadBalancer{Kind: b.Kind}}); got.Kind != b.Kind {
			t.Errorf("for %s it is %s", b.Kind, got.Kind)
		}
		for _, s := range b.Steps {
			if of[s.ID] != "" {
				t.Errorf("%s is a step of %s and %s", s.ID, of[s.ID], b.Kind)
			}
			of[s.ID] = b.Kind
		}
	}
}

// TestKindsAreChosenInOnePlace reads the program: nothing but this package, the
// kinds' own and the reader of specs names a kind, or compares one.
func TestKindsAreChosenInOnePlace(t *testing.T) {
	t.Parallel()
	seen := 0
	source.Each(t, func(f source.File) {
		if f.In("migrate/cluster") {
			return
		}
		allowed := f.In("phases/balancers", "phases/balancer")
		bad := func(n ast.Node, what string) {
			if seen++; !allowed {
				t.Errorf("%s: %s: ask balancers.Of instead", f.At(n), what)
			}
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "cluster" && len(n.Sel.Name) > len("LoadBalancer") && strings.HasPrefix(n.Sel.Name, "LoadBalancer") {
					bad(n, fmt.Sprintf("names the kind %s", n.Sel.Name))
				}
			case *ast.BinaryExpr:
				if isKind(n.X) || isKind(n.Y) {
					bad(n, "compares spec.loadBalancer.kind")
				}
			case *ast.SwitchStmt:
				if isKind(n.Tag) {
					bad(n, "switches over spec.loadBalancer.kind")
				}
			}
			return true
		})
	})
	if seen < 2*len(balancers.All()) {
		t.Errorf("only %d places were seen: the search has missed the constructor", seen)
	}
}

// isKind says whether an expression is the kind of a spec's load balancer.
func isKind(e ast.Expr) bool {
	kind, ok := e.(*ast.SelectorExpr)
	if !ok || kind.Sel.Name != "Kind" {
		return false
	}
	of, ok := kind.X.(*ast.SelectorExpr)
	return ok && of.Sel.Name == "LoadBalancer"
}
