package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/state"

	"github.com/urfave/cli/v2"
)

// closingLook is how long the last look at the cluster may take.
const closingLook = 5 * time.Second

// toldError is an error that the user has read already.
type toldError struct{ error }

func (e toldError) Unwrap() error { return e.error }

// closing tells how a run or a rollback ended that did not end well: what is
// true now, what was changed, and the one next command.
type closing struct {
	w       io.Writer
	s       *session
	command string // "run" or "rollback"
	flags   string // as given, for any next command: " --file x"
	how     string // as given, for the same command: " --strategy in-place"
	phase   int    // of --phase; 0: all
	plan    string // of --plan; "": none
	first   int    // entries of the journal's history before this command
	told    error  // what it ended with
}

// begin notes how long the journal's history is.
func (c *closing) begin(j *state.Journal) {
	if c == nil {
		return
	}
	if log, err := j.Log(); err == nil {
		c.first = len(log)
	}
}

// say prints the error and the closing block. j may be nil: the journal could
// not be opened. It returns err as one that was told.
func (c *closing) say(ctx context.Context, j *state.Journal, err error) error {
	if c == nil || err == nil || errors.Is(err, errNothingBack) {
		return err
	}
	err = inOwnWords(ctx, err)
	show.Fprintf(c.w, "migrate: %s\n\n", inLines(err, c.flags))
	c.told = err
	looking, cancel := context.WithTimeout(context.WithValue(context.WithoutCancel(ctx), unasked{}, true), closingLook)
	defer cancel()
	rows := [][2]string{{"It ended", howItEnded(err)}}
	if !errors.Is(err, errSignalled) { // else it is to end at once, and all is as it was
		rows = append(rows, c.seen(looking, j)...)
	}
	rows = append(rows, c.changed(j)...)
	rows = append(rows, [2]string{"Next", c.next(err)})
	for _, r := range rows {
		show.Fprintf(c.w, "  %-9s %s\n", r[0], r[1])
	}
	return toldError{err}
}

// because is what is not so, and why, unless the error has told that already: a host
// that is not reached is the reason of the error and of all that is not seen.
func (c *closing) because(what string, err error) string {
	why := firstLine(err)
	if c.told == nil {
		return what + ": " + why
	}
	known, now := ownPort.ReplaceAllString(c.told.Error(), ""), ownPort.ReplaceAllString(why, "")
	if strings.Contains(known, now) || strings.Contains(now, ownPort.ReplaceAllString(firstLine(c.told), "")) {
		return what + ", for the same reason"
	}
	return what + ": " + why
}

// ownPort is the end of a connection on this machine, as Go tells it: another one each
// time.
var ownPort = regexp.MustCompile(`\S+->`)

// howItEnded is one clause: where, and whether anything is half done.
func howItEnded(err error) string {
	var step *migrate.StepError
	var blocked *migrate.BlockedError
	var interrupted *migrate.InterruptedError
	var stopped *migrate.StoppedError
	switch {
	case errors.As(err, &stopped) && stopped.Status == state.Applied:
		return fmt.Sprintf("while %s was waited for, as asked: nothing is half done, and the next run verifies it", stopped.Where)
	case errors.As(err, &stopped):
		return fmt.Sprintf("while %s was waited for, as asked: what comes next looks and goes on from there", stopped.Where)
	case errors.Is(err, migrate.ErrStopped):
		return "between two steps, as asked: nothing is half done"
	case errors.As(err, &interrupted) && interrupted.Step != "":
		return fmt.Sprintf("in the middle of %s: %s", interrupted.Where, unknownNow(interrupted.Status))
	case errors.As(err, &interrupted), errors.Is(err, context.Canceled):
		return "before a step was begun"
	case errors.As(err, new(*heldError)), errors.Is(err, state.ErrLocked):
		return "before it began: another run has the cluster"
	case errors.As(err, new(*driftError)):
		return "before it began: the plan is not what would be done now"
	case errors.As(err, &blocked) && blocked.Step != "":
		return fmt.Sprintf("before %s, which has changed nothing", blocked.Where)
	case errors.As(err, &blocked):
		return fmt.Sprintf("before a step of phase %d was begun", blocked.Phase)
	case errors.As(err, &step) && step.Back != nil && step.Back.Err == nil:
		return fmt.Sprintf("in %s; what belongs together was taken back", step.Where)
	case errors.As(err, &step) && (step.Back != nil || step.Op == migrate.OpUndo):
		return fmt.Sprintf("on the way back of %s: it needs you", step.Where)
	case errors.As(err, &step) && step.Op == migrate.OpJournal:
		return fmt.Sprintf("in %s: the journal could not be written, and nothing is done that it does not take", step.Where)
	case errors.As(err, &step):
		return fmt.Sprintf("in the %s of %s", step.Op, step.Where)
	}
	return "with an error outside of any step"
}

func unknownNow(s state.Status) string {
	switch s {
	case state.Started, state.Failed:
		return "it may be half done"
	case state.Undoing:
		return "it may be half taken back"
	case state.Applied:
		return "it was applied and its result was not seen yet"
	case state.Verified:
		return "it is done, and what must hold afterwards was not looked at"
	case state.Pending, state.Satisfied, state.Undone:
	}
	return "it has changed nothing"
}

// changed tells what this command has changed, by the journal.
func (c *closing) changed(j *state.Journal) [][2]string {
	if j == nil {
		return [][2]string{{"Changed", "nothing, by this command"}}
	}
	log, err := j.Log()
	if err != nil {
		return [][2]string{{"Changed", "not known: " + firstLine(err)}}
	}
	now := map[state.Key]state.Status{}
	var order []state.Key
	for _, e := range log[min(c.first, len(log)):] {
		if _, known := now[e.Key]; !known {
			order = append(order, e.Key)
		}
		now[e.Key] = e.To
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
		rows = append(rows, [2]string{"", someOf(back, "step", "taken back")})
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

// next is the one command to go on with.
func (c *closing) next(err error) string {
	what := ""
	if c.plan != "" {
		what += " --plan " + remote.Quote(c.plan)
	}
	if c.phase != 0 {
		what += fmt.Sprintf(" --phase %d", c.phase)
	}
	again := "migrate " + c.command + c.flags + c.how + what
	var held *heldError
	var step *migrate.StepError
	var format *state.FormatError
	switch {
	case errors.As(err, &held) && held.Stale():
		return "migrate unlock" + c.flags
	case errors.As(err, &held), errors.Is(err, state.ErrLocked):
		return again + "    (when the other one has ended)"
	case errors.As(err, &format) && format.Found == 0:
		return "migrate adopt" + c.flags + "    (when the file was moved away)"
	case errors.As(err, new(*driftError)):
		return "migrate plan" + c.flags + "    (then save it with --out, and run that)"
	case errors.Is(err, migrate.ErrStopped):
		return again
	case errors.As(err, &step) && (step.Back != nil && step.Back.Err != nil || step.Op == migrate.OpUndo):
		return "migrate status" + c.flags + "    (then mend what the first line names, and `" + again + "`)"
	case errors.As(err, new(*migrate.InterruptedError)), errors.Is(err, context.Canceled):
		return again + "    (it looks first)"
	case errors.As(err, new(*migrate.FingerprintError)): // what it asks for may be another strategy
		return "migrate " + c.command + c.flags + what + "    (with the spec and the version that the first line asks for)"
	}
	return again + "    (when what the first line names is mended)"
}

// seen is what is true of the cluster at this moment, as far as it can be
// seen in a few seconds: each API server that should be there, and etcd's
// quorum. What can't be seen is said to be so, never guessed.
func (c *closing) seen(ctx context.Context, j *state.Journal) [][2]string {
	if j == nil {
		return nil // no connection was made, and none is made for this
	}
	api, etcd := make(chan string, 1), make(chan string, 1)
	go func() { api <- c.apiServers(ctx, j) }()
	go func() { etcd <- c.quorum(ctx) }()
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
func (c *closing) apiServers(ctx context.Context, j *state.Journal) string {
	nodes := []string{c.s.spec.ControlPlane.First.Name}
	records, err := j.Records(3)
	if err != nil {
		return c.because("not seen", err)
	}
	for _, h := range c.s.spec.ControlPlane.Joining {
		if slices.ContainsFunc(records, func(r state.Record) bool {
			return r.Target == h.Name && r.Step == joinStep && (r.Status.Touched() || r.Status == state.Satisfied)
		}) {
			nodes = append(nodes, h.Name)
		}
	}
	said := make([]string, len(nodes))
	_ = phases.ForEach(nodes, func(i int, node string) error { said[i] = node + " " + c.readyz(ctx, node); return nil })
	return strings.Join(said, "; ")
}

// quorum tells how many voters answer and who leads.
func (c *closing) quorum(ctx context.Context) string {
	e, err := c.s.world.View(migrate.ClusterTarget).Etcd(ctx)
	if err != nil {
		return c.because("not seen", err)
	}
	look, err := e.Look(ctx)
	if err != nil {
		return c.because("not seen", err)
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

// firstLine is an error in short: what follows is for its own place.
func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// joinStep is the step after which a node has an API server.
const joinStep = "controlplane/join"

func (c *closing) readyz(ctx context.Context, node string) string {
	cfg, err := c.s.world.View(node).AdminConfigOn(ctx, node)
	if err != nil {
		return c.because("not seen", err)
	}
	if err := kube.Readyz(ctx, cfg); err != nil {
		return c.because("is not ready", err)
	}
	return "answers /readyz with 200"
}

// flagsGiven repeats the flags that name the cluster, for the next command.
func flagsGiven(c *cli.Context) string {
	var out string
	for _, name := range []string{flagFile, flagJournal} {
		if v := common(c, name); v != "" {
			out += fmt.Sprintf(" --%s %s", name, remote.Quote(v))
		}
	}
	return out
}

// howGiven repeats the flags that say how a run or a rollback goes, as far as
// they were given: the next one is to go like it. That it asks before each phase
// does no harm after a stop.
func howGiven(c *cli.Context) string {
	var out string
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		if !c.IsSet(name) || slices.Contains([]string{flagFile, flagJournal, "phase", "plan", "yes"}, name) {
			continue
		}
		switch f.(type) {
		case *cli.BoolFlag:
			if c.Bool(name) {
				out += " --" + name
			}
		case *cli.StringSliceFlag:
			out += " --" + name + " " + remote.Quote(strings.Join(c.StringSlice(name), ","))
		default:
			out += " --" + name + " " + remote.Quote(fmt.Sprint(c.Value(name)))
		}
	}
	return out
}
