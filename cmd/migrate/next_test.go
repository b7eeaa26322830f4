package main

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
	"testing"

	"hamigrate/internal/source"
)

// TestNextCommandsAreMadeInOnePlace: a command that is proposed without the flags
// that name the cluster leads to another one, or nowhere.
func TestNextCommandsAreMadeInOnePlace(t *testing.T) {
	t.Parallel()
	bare := regexp.MustCompile(`(?i)(next|tells|first by %s): migrate `)
	source.Each(t, func(f source.File) {
		if !f.In(printers...) {
			return
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING && bare.MatchString(text.Value) && !strings.Contains(text.Value, "migrate plan -f %s") {
				t.Errorf("%s proposes a command without the flags that were given: %s", f.At(n), text.Value)
			}
			return true
		})
	})
}
