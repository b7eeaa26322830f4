package main

import (
	"fmt"
	"io"
	"strings"

	"hamigrate/migrate/outputfile"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
)

// writePlan writes a plan to the file of --out.
func writePlan(file string, own outputfile.Own, p run.SavedPlan) error {
	return outputfile.Save("out", file, 0o600, own, func(w io.Writer) error { return show.WriteJSON(w, p) })
}

// planGiven is the file of `run FILE` or `run --plan FILE`, "" without one.
func planGiven(flag string, words []string) (string, error) {
	switch {
	case len(words) > 1 && strings.HasPrefix(words[1], "-"):
		return "", fmt.Errorf("`migrate run` takes one word, the file of a saved plan, after all flags; %q stands behind %q: write `migrate run %s %s` for a plan, and name a spec with --file", words[1], words[0], strings.Join(words[1:], " "), words[0])
	case len(words) > 1:
		return "", fmt.Errorf("`migrate run` takes one word, the file of a saved plan, after all flags; %q stands behind %q: name the spec with --file, the plan with --plan", words[1], words[0])
	case len(words) == 1 && flag != "":
		return "", fmt.Errorf("two plans are named, %q and %q: name one", flag, words[0])
	case len(words) == 1:
		return words[0], nil
	}
	return flag, nil
}
