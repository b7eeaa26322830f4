package controlplane

import (
	"context"
	"strings"

	"hamigrate/phases"
)

// HostFilesReport is what phase 3 will find on a joining node of the files
// that the first node's control plane reads.
type HostFilesReport struct {
	All, Missing int
	Differs      []string // one clause each
	Notes        []string // what is not carried, and why; one clause each
	// Hinders are what phase 3 would be blocked by, with what to do.
	Hinders []struct{ Seen, Remedy string }
}

// HostFiles looks at v's target.
func HostFiles(ctx context.Context, v phases.Reader) (HostFilesReport, error) {
	t, err := lookTarget(ctx, v)
	if err != nil {
		return HostFilesReport{}, err
	}
	r := HostFilesReport{All: len(t.items), Notes: t.notes()}
	for _, x := range t.hindrances(v) {
		r.Hinders = append(r.Hinders, struct{ Seen, Remedy string }{x.seen, x.remedy})
	}
	for _, i := range t.items {
		switch fault := t.fault(i, v.First().Name); {
		case strings.HasSuffix(fault, missingWord):
			r.Missing++
		case fault != "":
			r.Differs = append(r.Differs, fault)
		}
	}
	return r, nil
}
