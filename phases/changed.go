package phases

import (
	"slices"

	"hamigrate/migrate"
)

// Changed lists the kinds of hosts that phases change, there and on their way
// back: the targets of their steps, and what they declare besides.
func Changed(list []Phase) []migrate.Selector {
	var out []migrate.Selector
	add := func(s migrate.Selector) {
		if s != migrate.Once && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	for _, p := range list {
		for _, s := range p.Steps {
			add(s.On)
		}
		for _, s := range p.Also {
			add(s)
		}
	}
	return out
}
