package source_test

import (
	"go/ast"
	"slices"
	"strings"
	"testing"

	"hamigrate/internal/source"
)

// The most lines that a file and a function may have. What is longer is read in
// parts, and mistakes hide between the parts.
const (
	longestFile     = 400
	longestFunction = 60
)

// reason begins a line of a comment that says why a function, or a file, is longer.
const reason = "Long: "

// longToday are functions that were too long when this test was written. The list may
// only become shorter: take out what was mended, and add nothing.
var longToday = strings.Fields(`
	nameBack take findProgram etcdMembers tryNginxStream Make
	TestUnlock TestElapsedIsTheWholeVisitAndWaitedWhatOthersTookOfIt TestKeysThatStay
	TestNginxOfOthers TestAPhaseTakenBack TestSavedPlanMatches TestAnOutputThatIsHeldUp TestHostFilesAsTheyAre TestLayout
	TestHostileTextIsQuoted TestSave TestHostFilesOfEachNode TestLogsAsFiles TestRestoreIsRefused
	TestWhoIsAskedWhetherItMayChange TestInventory
`)

// TestSizes holds functions and files, those of tests as well, to their sizes.
func TestSizes(t *testing.T) {
	t.Parallel()
	var long []string
	source.EachWithTests(t, func(f source.File) {
		if f.Lines > longestFile && !saysWhy(fileComments(f.AST)...) {
			t.Errorf("%s has %d lines, more than %d: make two of it, or say why above its package clause: // %s…", f.Name, f.Lines, longestFile, reason)
		}
		for _, d := range f.AST.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := f.End(fn).Line - f.At(fn).Line + 1
			if lines <= longestFunction || saysWhy(fn.Doc) {
				continue
			}
			if long = append(long, fn.Name.Name); !slices.Contains(longToday, fn.Name.Name) {
				t.Errorf("%s:%d: %s has %d lines, more than %d: take a part out of it, or say why in its comment: // %s…",
					f.Name, f.At(fn).Line, fn.Name.Name, lines, longestFunction, reason)
			}
		}
	})
	for _, name := range longToday {
		if !slices.Contains(long, name) {
			t.Logf("%s is not too long any more: take it out of longToday", name)
		}
	}
}

// fileComments are the comments before the package clause.
func fileComments(f *ast.File) []*ast.CommentGroup {
	var above []*ast.CommentGroup
	for _, c := range f.Comments {
		if c.Pos() < f.Package {
			above = append(above, c)
		}
	}
	return above
}

// saysWhy looks for a reason at the beginning of a line.
func saysWhy(comments ...*ast.CommentGroup) bool {
	for _, c := range comments {
		for line := range strings.Lines(c.Text()) {
			if strings.HasPrefix(line, reason) {
				return true
			}
		}
	}
	return false
}
