package rights

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Refused begins the line that a look writes to its standard error where sudo
// refused a program. The scripts themselves take a program that fails for one
// that found nothing, so whoever runs them has to look for it.
const Refused = "migrate: sudo refuses: "

// Functions is shell that comes before a look of a user who may only look: for
// each program of Commands a function of its name that asks root for it where
// the arguments are those listed, and is the program itself else. There is none
// for a program that is not installed, since scripts ask for that
// (`command -v`).
//
// Descriptor 9 is the look's standard error, also where the script sends that of
// a part elsewhere.
func Functions() string {
	var b strings.Builder
	fmt.Fprintf(&b, `exec 9>&2
migrate_root() {
	sudo -n -- "$@" 9>&- && return 0
	migrate_status=$?
	sudo -n -l -- "$@" >/dev/null 2>&1 9>&- || echo "%s$*" >&9
	return "$migrate_status"
}
`, Refused)
	var names []string
	cases := map[string][]string{}
	for _, c := range Commands(every) {
		if c.Program == "timeout" {
			continue
		}
		if !slices.Contains(names, c.Program) {
			names = append(names, c.Program)
		}
		for _, a := range c.Arguments {
			cases[c.Program] = append(cases[c.Program], shellPattern(a))
		}
	}
	for _, n := range names {
		fmt.Fprintf(&b, "command -v %[1]s >/dev/null && %[1]s() { case \"$*\" in %[2]s) migrate_root %[1]s \"$@\" ;; *) command %[1]s \"$@\" ;; esac; }\n",
			n, strings.Join(cases[n], "|"))
	}
	// The runtimes' tools are often in a folder that sudo does not search.
	b.WriteString(`timeout() {
	case $2 in
	crictl | ctr) ;;
	*) command timeout "$@"; return ;;
	esac
	migrate_limit=$1
	migrate_tool=$(command -v "$2") || return 127
	shift 2
	migrate_root timeout "$migrate_limit" "$migrate_tool" "$@"
}
`)
	return b.String()
}

// shellPattern is a list of arguments as a pattern of the shell's `case`. It may
// match more than sudo does: sudo decides.
func shellPattern(arguments string) string {
	text := strings.NewReplacer(pid, `"[0-9]*"`, port, `"[0-9]*"`, anyPID, `"[0-9]*"`, anything, `"*"`).Replace(arguments)
	return strings.ReplaceAll(`"`+text+`"`, `""`, "")
}

// Covers says whether a look may ask root for a program with these arguments, on
// a host of some role.
func Covers(program string, arguments []string) bool {
	if program == "timeout" && len(arguments) > 1 {
		arguments = append([]string{arguments[0], "/usr/bin/" + arguments[1]}, arguments[2:]...)
	}
	given := strings.Join(arguments, " ")
	words := strings.NewReplacer(pid, "[0-9]+", port, "[0-9]+", anyPID, "[0-9]+", anything, ".*")
	return slices.ContainsFunc(Commands(every), func(c Command) bool {
		return c.Program == program && slices.ContainsFunc(c.Arguments, func(a string) bool {
			return regexp.MustCompile("^" + words.Replace(regexp.QuoteMeta(a)) + "$").MatchString(given)
		})
	})
}
