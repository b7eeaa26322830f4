package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/state"
)

func Print(w io.Writer, r Report) error {
	t := tabular.New(w, "phase", "steps done", "found done", "seconds")
	for _, p := range r.Phases {
		did, found := 0, 0
		for _, s := range p.Steps {
			switch s.Status {
			case state.Verified:
				did++
			case state.Satisfied:
				found++
			}
		}
		t.Add(fmt.Sprintf("%d %s", p.Phase, p.Name), did, found, fmt.Sprintf("%.1f", p.Seconds))
	}
	t.Render()
	if r.TwoVoterSeconds > 0 {
		show.Fprintf(w, "etcd had two voters, which survive no failure, for %.1f s.\n", r.TwoVoterSeconds)
	}
	for _, b := range r.Backups {
		show.Fprintf(w, "Before phase %d: etcd at revision %d and %d files of /etc/kubernetes, checked, in %s (%.1f s).\n", b.Phase, b.Revision, b.Files, b.Folder, b.Seconds)
	}
	printHostKeys(w, r.AcceptedHostKeys)
	printWhere(w, r)
	if r.Probe != nil {
		show.Fprintln(w)
		printProbe(w, *r.Probe)
	}
	result := r.Result
	if result == "failed" {
		// The contract knows no third word; a person should.
		result = "not finished"
	}
	_, err := show.Fprintf(w, "\n%s, Kubernetes %s, strategy %s: %s, %.0f s.\n", r.Cluster, r.KubernetesVersion, r.Strategy, result, r.Seconds)
	return err
}

// longSteps is how many steps the table of where the time went has.
const longSteps = 10

// printWhere tells where the time went.
func printWhere(w io.Writer, r Report) {
	if r.WaitedSeconds == 0 {
		return
	}
	var steps []Step
	for _, p := range r.Phases {
		steps = append(steps, p.Steps...)
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(b.TotalSeconds, a.TotalSeconds) })
	show.Fprintln(w)
	t := tabular.New(w, "step", "on", "seconds", "waited for others", "ours")
	for _, s := range steps[:min(len(steps), longSteps)] {
		t.Add(s.ID, s.Node, fmt.Sprintf("%.1f", s.TotalSeconds), fmt.Sprintf("%.1f", s.WaitedSeconds), fmt.Sprintf("%.1f", s.TotalSeconds-s.WaitedSeconds))
	}
	t.Render()
	all := r.WaitedSeconds + r.OursSeconds
	show.Fprintf(w, "Of %.1f s in all steps, %.1f s were waited for kubeadm, kubelet, etcd and the load balancer; %.1f s (%.0f %%) were ours.\n",
		all, r.WaitedSeconds, r.OursSeconds, 100*r.OursSeconds/all)
	if len(r.CatchUp) > 0 {
		var each []string
		for _, c := range r.CatchUp {
			each = append(each, fmt.Sprintf("%s %.1f s", c.Node, c.Seconds))
		}
		show.Fprintf(w, "The new members had all data (%.1f MB) after: %s.\n", float64(r.EtcdBytes)/1e6, strings.Join(each, ", "))
	}
}
