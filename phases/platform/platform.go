// Package platform is what differs between Linux distributions: one file a
// family. Which family a host is of is told by what is on it, by the host's own
// shell, at the moment of the change: nothing is remembered that may not be so any
// more.
package platform

import (
	"slices"
	"strings"
)

// Family is distributions that are alike in what this program needs of them.
type Family struct {
	Name string // "Debian"
	// Manager is the package manager's program. A host that has it is of the family.
	Manager string
	// NginxStream is the package with nginx's stream module, NginxModules the line of
	// nginx.conf, as its own package brings it, that loads modules.
	NginxStream, NginxModules string
	// NginxServes: nginx.conf itself, as the package brings it, serves a page on port
	// 80 of IPv4 and IPv6.
	NginxServes bool

	install  func(Packages) string
	simulate func(Packages) string
	byHand   string // installs the packages that follow
}

// Packages are what is to be installed.
type Packages struct {
	// Program is also the name of its package. It is installed only where it is not
	// there, and nothing of its name is started meanwhile.
	Program string
	With    string // a further package, installed where it is not there
	// Fresh is a script for a host that did not have the program before.
	Fresh string
}

// Families are all that are known, in the order in which a host is asked.
func Families() []Family { return []Family{debian(), redHat()} }

// Choose is a script that does on a host what its family does, and other where it
// is of none.
func Choose(of func(Family) string, other string) string {
	var b strings.Builder
	word := "if"
	for _, f := range Families() {
		b.WriteString(word + " command -v " + f.Manager + " >/dev/null; then\n" + of(f) + "\n")
		word = "elif"
	}
	return b.String() + "else " + other + "; fi"
}

// Install is a script that installs packages.
func (f Family) Install(p Packages) string { return f.install(p) }

// Simulate is a script that prints what Install would do; "" where the package
// manager can't say.
func (f Family) Simulate(p Packages) string {
	if f.simulate == nil {
		return ""
	}
	return f.simulate(p)
}

// ByHand is the command that a person types to install packages.
func (f Family) ByHand(p Packages) string {
	return strings.Join([]string{f.byHand, p.Program, p.With}, " ")
}

// Managers is a script that prints the package manager that there is.
func Managers() string {
	var out []string
	for _, f := range Families() {
		out = append(out, "command -v "+f.Manager)
	}
	return strings.Join(append(out, "true"), " || ")
}

// Named is the family with this package manager, as Managers prints it.
func Named(manager string) (Family, bool) {
	all := Families()
	i := slices.IndexFunc(all, func(f Family) bool { return strings.HasSuffix(manager, "/"+f.Manager) })
	if i < 0 {
		return Family{}, false
	}
	return all[i], true
}
