package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/probe"
	"hamigrate/migrate/remote/sshhost"
	"hamigrate/migrate/runrecord"
	"hamigrate/migrate/show"
	"hamigrate/migrate/show/tabular"
	"hamigrate/phases"
	"hamigrate/state"

	"github.com/urfave/cli/v2"
)

func reportCommand() *cli.Command {
	return &cli.Command{
		Name:   "report",
		Before: noWords,
		Usage:  "tell what was done, from the journal",
		Description: "Text for the terminal; `-o json`, a contract with scripts (docs/architecture.md); `-o html`, one\n" +
			"page that loads nothing: figures, charts and diffs; `-o markdown`, a change record for a\n" +
			"ticket. --html writes the page to a file besides. The cluster is not asked.\n\n" + exitStatus,
		Flags: append(commonFlags(), outputFlag("text", "json", "html", "markdown"),
			&cli.BoolFlag{Name: "json", Usage: "the same as --output json"},
			&cli.StringFlag{Name: "html", Usage: "write the page to `FILE` as well"}),
		Action: reportAction,
	}
}

func reportAction(c *cli.Context) error {
	s, err := readSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	j, err := s.readJournal()
	if err != nil {
		return err
	}
	defer j.Close()
	r, err := makeReport(j)
	if err != nil {
		return err
	}
	if r.StartedAt.IsZero() {
		return fmt.Errorf("nothing was begun yet, so there is nothing to report; next: %s", s.next("plan"))
	}
	d, err := makePage(j, r)
	if err != nil {
		return err
	}
	if file := c.String("html"); file != "" {
		if err := writePage(file, ownFilesOf(s), d); err != nil {
			return err
		}
		show.Fprintf(c.App.ErrWriter, "Page: %s\n", file)
	}
	format := c.String("output")
	if c.Bool("json") {
		format = "json"
	}
	switch format {
	case "json":
		return writeReport(c.App.Writer, r)
	case "text":
		if err := printReport(c.App.Writer, r); err != nil || r.Result != "failed" {
			return err
		}
		_, err := show.Fprintf(c.App.Writer, "`%s` says how far it is.\n", s.next("status"))
		return err
	}
	return printPage(c.App.Writer, d, format)
}

// report is the contract of `report --json` and `rehearse --report`.
type report struct {
	Cluster           string        `json:"cluster"`
	KubernetesVersion string        `json:"kubernetesVersion"`
	Strategy          string        `json:"strategy"`
	StartedAt         time.Time     `json:"startedAt"`
	Seconds           float64       `json:"seconds"`
	Phases            []reportPhase `json:"phases"`
	// TwoVoterSeconds is how long etcd had two voters, which survive no
	// failure: from the first promotion to the second. 0: not done yet.
	TwoVoterSeconds float64 `json:"twoVoterSeconds"`
	// AnnouncedOutageSeconds is what the plan said before, of a rehearsal.
	AnnouncedOutageSeconds float64 `json:"announcedOutageSeconds"`
	// WaitedSeconds is the part of all steps' time in which kubeadm, the
	// kubelet, etcd or nginx were waited for; OursSeconds is the rest. With
	// failed attempts among them, which are no part of a phase's Seconds of a
	// run that was killed, the two may be more than Seconds.
	WaitedSeconds float64 `json:"waitedSeconds"`
	OursSeconds   float64 `json:"oursSeconds"`
	// EtcdBytes is how much etcd held when the migration began, CatchUp how
	// long each new member took to have it.
	EtcdBytes int64     `json:"etcdBytes"`
	CatchUp   []catchUp `json:"catchUp"`

	// Backups are those that runs took before phases 2 and 3, checked.
	Backups []runrecord.Backup `json:"backups"`

	// AcceptedHostKeys are the hosts whose key was trusted because it was the
	// first one shown (--accept-new-host-keys), and which runs connected to.
	AcceptedHostKeys []sshhost.HostKey `json:"acceptedHostKeys"`

	Probe  *probe.Result `json:"probe"` // null: nothing was measured
	Result string        `json:"result"`
}

// catchUp is how long a member took from its start to having all data.
type catchUp struct {
	Node    string  `json:"node"`
	Seconds float64 `json:"seconds"`
}

type reportPhase struct {
	Phase   int          `json:"phase"`
	Name    string       `json:"name"`
	Seconds float64      `json:"seconds"`
	Steps   []reportStep `json:"steps"`
}

type reportStep struct {
	ID      string       `json:"id"`
	Node    string       `json:"node"`
	Status  state.Status `json:"status"`
	Seconds float64      `json:"seconds"` // from the first change to the proof
	// TotalSeconds is with the checks before and the guards around it;
	// WaitedSeconds of it were waited for others' programs.
	TotalSeconds  float64 `json:"totalSeconds"`
	WaitedSeconds float64 `json:"waitedSeconds"`
}

// makeReport reads the journal. Seconds of a phase are those of its runs: the
// night between two of them does not count.
func makeReport(j *state.Journal) (report, error) {
	var a runrecord.About
	if _, err := j.GetBlob(runrecord.AboutBlob, &a); err != nil {
		return report{}, err
	}
	r := report{Cluster: a.Cluster, KubernetesVersion: a.KubernetesVersion, Strategy: a.Strategy, StartedAt: a.StartedAt,
		EtcdBytes: a.EtcdBytes, Result: "done", Phases: []reportPhase{}, CatchUp: []catchUp{}, Backups: []runrecord.Backup{}, AcceptedHostKeys: []sshhost.HostKey{}}
	if _, err := j.GetBlob(runrecord.HostKeysBlob, &r.AcceptedHostKeys); err != nil {
		return report{}, err
	}
	if _, err := j.GetBlob(runrecord.BackupsBlob, &r.Backups); err != nil {
		return report{}, err
	}
	var took runrecord.Timings
	if _, err := j.GetBlob(runrecord.TimingsBlob, &took); err != nil {
		return report{}, err
	}
	runs, err := j.Runs()
	if err != nil {
		return report{}, err
	}
	standing, undone := false, false
	for _, p := range allPhases(phases.Strategy(a.Strategy)) {
		known, err := j.Phase(p.Number)
		if err != nil {
			return report{}, err
		}
		if known.Completed.IsZero() {
			r.Result = "failed"
		}
		if known.Begun.IsZero() {
			continue
		}
		phase := reportPhase{Phase: p.Number, Name: p.Name, Steps: []reportStep{}}
		for _, run := range runs {
			if run.Phase == p.Number && !run.End.IsZero() {
				phase.Seconds += run.End.Sub(run.Start).Seconds()
			}
		}
		records, err := j.Records(p.Number)
		if err != nil {
			return report{}, err
		}
		if p.Name == "etcd" {
			r.TwoVoterSeconds = twoVoters(records)
		}
		for _, rec := range records {
			step := stepOf(rec, took)
			undone = undone || rec.Status == state.Undone
			standing = standing || rec.Status.Touched() && !staysAsItIs(p, rec)
			if rec.Step == "etcd/start-member" && rec.Status == state.Verified {
				r.CatchUp = append(r.CatchUp, catchUp{rec.Target, step.Seconds})
			}
			r.WaitedSeconds += step.WaitedSeconds
			r.OursSeconds += max(step.TotalSeconds-step.WaitedSeconds, 0)
			phase.Steps = append(phase.Steps, step)
		}
		r.Seconds += phase.Seconds
		r.Phases = append(r.Phases, phase)
	}
	if undone && !standing {
		r.Result = "rolled-back"
	}
	var measured runrecord.Measurements
	if _, err := j.GetBlob(runrecord.MeasurementsBlob, &measured); err != nil {
		return report{}, err
	}
	if r.Probe = measured.Result(); r.Probe == nil {
		return r, nil
	}
	log, err := j.Log()
	if err != nil {
		return report{}, err
	}
	r.Probe.Explain(func(at time.Time) string { return during(log, at) })
	return r, nil
}

// staysAsItIs says whether a rollback leaves what a step did, for a reason.
func staysAsItIs(p phases.Phase, rec state.Record) bool {
	return slices.ContainsFunc(p.Steps, func(st phases.Step) bool { return string(st.ID) == rec.Step && st.OneWay != "" })
}

func stepOf(rec state.Record, took runrecord.Timings) reportStep {
	time := took.Of(rec.Phase, rec.Step, rec.Target)
	step := reportStep{ID: rec.Step, Node: rec.Target, Status: rec.Status, TotalSeconds: time.Total.Seconds(), WaitedSeconds: time.Waited.Seconds()}
	if !rec.Started.IsZero() && !rec.Ended.IsZero() {
		step.Seconds = rec.Ended.Sub(rec.Started).Seconds()
	}
	return step
}

func twoVoters(records []state.Record) float64 {
	var promoted []time.Time
	for _, r := range records {
		if r.Step == "etcd/promote" && !r.Applied.IsZero() {
			promoted = append(promoted, r.Applied)
		}
	}
	slices.SortFunc(promoted, time.Time.Compare)
	if len(promoted) < 2 {
		return 0
	}
	return promoted[1].Sub(promoted[0]).Seconds()
}

func writeReport(w io.Writer, r any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func printReport(w io.Writer, r report) error {
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
func printWhere(w io.Writer, r report) {
	if r.WaitedSeconds == 0 {
		return
	}
	var steps []reportStep
	for _, p := range r.Phases {
		steps = append(steps, p.Steps...)
	}
	slices.SortStableFunc(steps, func(a, b reportStep) int { return cmp.Compare(b.TotalSeconds, a.TotalSeconds) })
	show.Fprintln(w)
	t := tabular.New(w, "step", "on", "seconds", "waited for others", "ours")
	for _, s := range steps[:min(len(steps), longSteps)] {
		t.Add(s.ID, s.Node, fmt.Sprintf("%.1f", s.TotalSeconds), fmt.Sprintf("%.1f", s.WaitedSeconds), fmt.Sprintf("%.1f", s.TotalSeconds-s.WaitedSeconds))
	}
	t.Render()
	all := r.WaitedSeconds + r.OursSeconds
	show.Fprintf(w, "Of %.1f s in all steps, %.1f s were waited for kubeadm, kubelet, etcd and nginx; %.1f s (%.0f %%) were ours.\n",
		all, r.WaitedSeconds, r.OursSeconds, 100*r.OursSeconds/all)
	if len(r.CatchUp) > 0 {
		var each []string
		for _, c := range r.CatchUp {
			each = append(each, fmt.Sprintf("%s %.1f s", c.Node, c.Seconds))
		}
		show.Fprintf(w, "The new members had all data (%.1f MB) after: %s.\n", float64(r.EtcdBytes)/1e6, strings.Join(each, ", "))
	}
}
