// Package report tells what was done, from the journal alone: as a value that is a
// contract with scripts, as text, and as what the page of package page shows.
package report

import (
	"slices"
	"time"

	"hamigrate/migrate/probe"
	"hamigrate/migrate/remote/sshhost"
	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/state"
)

// Report is the contract of `report --json` and `rehearse --report`.
type Report struct {
	Cluster           string    `json:"cluster"`
	KubernetesVersion string    `json:"kubernetesVersion"`
	Strategy          string    `json:"strategy"`
	StartedAt         time.Time `json:"startedAt"`
	Seconds           float64   `json:"seconds"`
	Phases            []Phase   `json:"phases"`
	// TwoVoterSeconds is how long etcd had two voters, which survive no
	// failure: from the first promotion to the second. 0: not done yet.
	TwoVoterSeconds float64 `json:"twoVoterSeconds"`
	// AnnouncedOutageSeconds is what the plan said before, of a rehearsal.
	AnnouncedOutageSeconds float64 `json:"announcedOutageSeconds"`
	// WaitedSeconds is the part of all steps' time in which kubeadm, the
	// kubelet, etcd or the load balancer were waited for; OursSeconds is the rest. With
	// failed attempts among them, which are no part of a phase's Seconds of a
	// run that was killed, the two may be more than Seconds.
	WaitedSeconds float64 `json:"waitedSeconds"`
	OursSeconds   float64 `json:"oursSeconds"`
	// EtcdBytes is how much etcd held when the migration began, CatchUp how
	// long each new member took to have it.
	EtcdBytes int64     `json:"etcdBytes"`
	CatchUp   []CatchUp `json:"catchUp"`

	// Backups are those that runs took before phases 2 and 3, checked.
	Backups []runrecord.Backup `json:"backups"`

	// AcceptedHostKeys are the hosts whose key was trusted because it was the
	// first one shown (--accept-new-host-keys), and which runs connected to.
	AcceptedHostKeys []sshhost.HostKey `json:"acceptedHostKeys"`

	Probe  *probe.Result `json:"probe"` // null: nothing was measured
	Result string        `json:"result"`
}

// CatchUp is how long a member took from its start to having all data.
type CatchUp struct {
	Node    string  `json:"node"`
	Seconds float64 `json:"seconds"`
}

// Phase is one phase with its steps; its time is that of its runs.
type Phase struct {
	Phase   int     `json:"phase"`
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	Steps   []Step  `json:"steps"`
}

// Step is one step on one target. Times are in seconds.
type Step struct {
	ID      string       `json:"id"`
	Node    string       `json:"node"`
	Status  state.Status `json:"status"`
	Seconds float64      `json:"seconds"` // from the first change to the proof
	// TotalSeconds is with the checks before it and the invariants around it;
	// WaitedSeconds of it were waited for others' programs.
	TotalSeconds  float64 `json:"totalSeconds"`
	WaitedSeconds float64 `json:"waitedSeconds"`
}

// Declared are the phases of the migration in order, for a strategy.
type Declared func(phases.Strategy) []phases.Phase

// Make reads the journal, whose phases are those of phasesOf. Seconds of a phase are those of its runs: the
// night between two of them does not count.
func Make(j *state.Journal, phasesOf Declared) (Report, error) {
	var a runrecord.About
	if _, err := j.GetBlob(runrecord.AboutBlob, &a); err != nil {
		return Report{}, err
	}
	r := Report{Cluster: a.Cluster, KubernetesVersion: a.KubernetesVersion, Strategy: a.Strategy, StartedAt: a.StartedAt,
		EtcdBytes: a.EtcdBytes, Result: "done", Phases: []Phase{}, CatchUp: []CatchUp{}, Backups: []runrecord.Backup{}, AcceptedHostKeys: []sshhost.HostKey{}}
	if _, err := j.GetBlob(runrecord.HostKeysBlob, &r.AcceptedHostKeys); err != nil {
		return Report{}, err
	}
	if _, err := j.GetBlob(runrecord.BackupsBlob, &r.Backups); err != nil {
		return Report{}, err
	}
	var took runrecord.Timings
	if _, err := j.GetBlob(runrecord.TimingsBlob, &took); err != nil {
		return Report{}, err
	}
	runs, err := j.Runs()
	if err != nil {
		return Report{}, err
	}
	standing, undone := false, false
	for _, p := range phasesOf(phases.Strategy(a.Strategy)) {
		known, err := j.Phase(p.Number)
		if err != nil {
			return Report{}, err
		}
		if known.Completed.IsZero() {
			r.Result = "failed"
		}
		if known.Begun.IsZero() {
			continue
		}
		p = p.For(p.Begun(known)) // what the strategy does not say
		phase := Phase{Phase: p.Number, Name: p.Name, Steps: []Step{}}
		for _, run := range runs {
			if run.Phase == p.Number && !run.End.IsZero() {
				phase.Seconds += run.End.Sub(run.Start).Seconds()
			}
		}
		records, err := j.Records(p.Number)
		if err != nil {
			return Report{}, err
		}
		if p.Name == "etcd" {
			r.TwoVoterSeconds = twoVoters(records)
		}
		for _, rec := range records {
			step := stepOf(rec, took)
			undone = undone || rec.Status == state.Undone
			standing = standing || rec.Status.Touched() && !staysAsItIs(p, rec)
			if rec.Step == "etcd/start-member" && rec.Status == state.Verified {
				r.CatchUp = append(r.CatchUp, CatchUp{rec.Target, step.Seconds})
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
		return Report{}, err
	}
	if r.Probe = measured.Result(); r.Probe == nil {
		return r, nil
	}
	log, err := j.Log()
	if err != nil {
		return Report{}, err
	}
	r.Probe.Explain(func(at time.Time) string { return during(log, at) })
	return r, nil
}

// staysAsItIs says whether a rollback leaves what a step did, for a reason.
func staysAsItIs(p phases.Phase, rec state.Record) bool {
	return slices.ContainsFunc(p.Steps, func(st phases.Step) bool { return string(st.ID) == rec.Step && st.OneWay != "" })
}

func stepOf(rec state.Record, took runrecord.Timings) Step {
	time := took.Of(rec.Phase, rec.Step, rec.Target)
	step := Step{ID: rec.Step, Node: rec.Target, Status: rec.Status, TotalSeconds: time.Total.Seconds(), WaitedSeconds: time.Waited.Seconds()}
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
