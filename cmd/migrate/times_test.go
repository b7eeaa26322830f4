package main

import (
	"go/ast"
	"testing"

	"hamigrate/internal/source"
)

// TestTimesAreUTC: what status, the report, the log and another operator's
// terminal say of one moment is the same text. So no time is shown in the zone of
// the machine at hand.
func TestTimesAreUTC(t *testing.T) {
	t.Parallel()
	source.Each(t, func(f source.File) {
		if f.In("e2e") {
			return
		}
		f.Calls(func(call *ast.CallExpr, _, _ string) {
			if localTime(call) {
				t.Errorf("%s shows a time in the zone of this machine: make it UTC, and say so", f.At(call))
			}
		})
	})
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
