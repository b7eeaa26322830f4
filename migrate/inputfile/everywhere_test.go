package inputfile

import (
	"go/ast"
	"slices"
	"strings"
	"testing"

	"hamigrate/internal/source"
)

// elsewhere are the files of the program that open files without this package, or
// the folders of them, and why they may.
func elsewhere() map[string]string {
	return map[string]string{
		"migrate/inputfile/":                   "this package",
		"migrate/playground/":                  "what the playground has made itself, and /proc",
		"migrate/nodeprobe/":                   "the program itself, and what the kubelet mounts",
		"migrate/backup/":                      "what a backup holds is as large as the cluster's data: it is streamed, and its size checked",
		"phases/conformance/operator.go":       "a journal of a test, as a death would leave it",
		"phases/simulator/shell.go":            "/dev/null of this machine, for the shell of a test's host",
		"migrate/runlog/":                      "the log, which is read as a stream",
		"migrate/remote/sshhost/knownhosts.go": "known_hosts, line by line, with a bound of its own",
		"migrate/remote/sshhost/trust.go":      "adds a line to known_hosts",
		"state/":                               "the journal, which is looked at before it is opened, and its own folder",
		"cmd/migrate/ask.go":                   "the terminal",
		"migrate/initlook/result.go":           "makes the spec",
		"migrate/outputfile/":                  "writes to a device",
		"migrate/support/archive.go":           "makes the archive",
		"migrate/run/restore_choose.go":        "the program itself: its checksum, streamed",
	}
}

// TestFilesAreReadHere: a file that an operator names is read up to a bound, so
// there is one way to read it. Whoever opens files elsewhere says why.
func TestFilesAreReadHere(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	source.Each(t, func(f source.File) {
		ast.Inspect(f.AST, func(n ast.Node) bool { // also where the function is handed on
			s, ok := n.(*ast.SelectorExpr)
			if !ok || !opens(s) {
				return true
			}
			if at := allowed(f.Name); at != "" {
				used[at] = true
			} else {
				t.Errorf("%s: what an operator names is read with inputfile.Kind, which has a bound, and not with os.%s", f.At(n), s.Sel.Name)
			}
			return true
		})
	})
	for at := range elsewhere() {
		if !used[at] {
			t.Errorf("%s opens no file any more: take it off the list", at)
		}
	}
}

// opens says whether something is a function of os that opens a file.
func opens(s *ast.SelectorExpr) bool {
	of, ok := s.X.(*ast.Ident)
	return ok && of.Name == "os" && slices.Contains([]string{"ReadFile", "Open", "OpenFile"}, s.Sel.Name)
}

func allowed(name string) string {
	for at := range elsewhere() {
		if name == at || strings.HasSuffix(at, "/") && strings.HasPrefix(name, at) {
			return at
		}
	}
	return ""
}
