package run

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/show"
	"hamigrate/state"
)

// seen is what is true of the cluster at this moment, as far as it can be
// seen in a few seconds: each API server that should be there, and etcd's
// quorum. What can't be seen is said to be so, never guessed.
func (e *ending) seen(ctx context.Context, j *state.Journal) [][2]string {
	if j == nil {
		return nil // no connection was made, and none is made for this
	}
	api, etcd := make(chan string, 1), make(chan string, 1)
	go func() { api <- e.apiServers(ctx, j) }()
	go func() { etcd <- e.quorum(ctx) }()
	wait := func(answer <-chan string) string {
		select {
		case text := <-answer:
			return text
		case <-ctx.Done():
			return fmt.Sprintf("not seen within %s", show.Seconds(closingLook))
		}
	}
	return [][2]string{{"API", wait(api)}, {"etcd", wait(etcd)}}
}

// apiServers asks the first API server for /readyz, and those of nodes that
// were joined.
func (e *ending) apiServers(ctx context.Context, j *state.Journal) string {
	nodes := []string{e.s.Spec.ControlPlane.First.Name}
	records, err := j.Records(3)
	if err != nil {
		return e.because("not seen", err)
	}
	for _, h := range e.s.Spec.ControlPlane.Joining {
		if slices.ContainsFunc(records, func(r state.Record) bool {
			return r.Target == h.Name && r.Step == joinStep && (r.Status.Touched() || r.Status == state.Satisfied)
		}) {
			nodes = append(nodes, h.Name)
		}
	}
	said := make([]string, len(nodes))
	_ = parallel.Each(nodes, func(i int, node string) error { said[i] = node + " " + e.readyz(ctx, node); return nil })
	return strings.Join(said, "; ")
}

// joinStep is the step after which a node has an API server.
const joinStep = "controlplane/join"

func (e *ending) readyz(ctx context.Context, node string) string {
	cfg, err := e.s.Access.Reader(node).AdminConfigOn(ctx, node)
	if err != nil {
		return e.because("not seen", err)
	}
	if err := kube.Readyz(ctx, cfg); err != nil {
		return e.because("is not ready", err)
	}
	return "answers /readyz with 200"
}

// quorum tells how many voters answer and who leads.
func (e *ending) quorum(ctx context.Context) string {
	members, err := e.s.Access.Reader(migrate.ClusterTarget).Etcd(ctx)
	if err != nil {
		return e.because("not seen", err)
	}
	look, err := members.Look(ctx)
	if err != nil {
		return e.because("not seen", err)
	}
	answered, leader := map[uint64]bool{}, uint64(0)
	for _, a := range look.Answers {
		if a.Err == nil {
			answered[a.Status.MemberID] = true
			leader = max(leader, a.Status.Leader)
		}
	}
	voters, there, leads := 0, 0, "no leader is known"
	for _, m := range look.Members {
		if m.Learner {
			continue
		}
		voters++
		if answered[m.ID] {
			there++
		}
		if m.ID == leader {
			leads = m.Name + " leads"
		}
	}
	verdict := "quorum"
	if there <= voters/2 || leader == 0 {
		verdict = "NO QUORUM seen"
	}
	return fmt.Sprintf("%s: %d of %d voters answer, %s", verdict, there, voters, leads)
}

// changed tells what this command has changed, by the journal.
func (e *ending) changed(j *state.Journal) [][2]string {
	if j == nil {
		return [][2]string{{"Changed", "nothing, by this command"}}
	}
	log, err := j.Log()
	if err != nil {
		return [][2]string{{"Changed", "not known: " + FirstLine(err)}}
	}
	now := map[state.Key]state.Status{}
	var order []state.Key
	for _, entry := range log[min(e.first, len(log)):] {
		if _, known := now[entry.Key]; !known {
			order = append(order, entry.Key)
		}
		now[entry.Key] = entry.To
	}
	var done, back, open []string
	for _, k := range order {
		what := k.Step + " on " + k.Target
		switch s := now[k]; {
		case s == state.Verified:
			done = append(done, what)
		case s == state.Undone:
			back = append(back, what)
		case s.Touched():
			open = append(open, fmt.Sprintf("%s (%s)", what, s))
		}
	}
	rows := [][2]string{{"Changed", someOf(done, "step", "done")}}
	if len(done)+len(back)+len(open) == 0 {
		rows[0][1] = "nothing, by this command"
	}
	if len(back) > 0 {
		rows = append(rows, [2]string{"", someOf(back, "step", "undone")})
	}
	if len(open) > 0 {
		rows = append(rows, [2]string{"", "not finished: " + strings.Join(open, ", ")})
	}
	if rows[0][1] == "" {
		rows = rows[1:]
		rows[0][0] = "Changed"
	}
	return rows
}

// someOf counts, and names the last one.
func someOf(list []string, one, what string) string {
	if len(list) == 0 {
		return ""
	}
	if len(list) > 1 {
		one += "s"
	}
	return fmt.Sprintf("%d %s %s, the last one %s", len(list), one, what, list[len(list)-1])
}
