package sshhost

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hamigrate/migrate/remote"
)

const (
	// waitChunk is how long one session waits for the end of a detached
	// command; then the next one does. It bounds what a wait leaves behind on
	// the host when the connection is lost.
	waitChunk = 20 * time.Second
	// awaitLimit is how long AwaitDetached waits for one command of an earlier
	// run: longer than kubeadm, apt-get or dnf go on without hanging.
	awaitLimit = 15 * time.Minute
	// detachedOutputLimit leaves room for the head and standard error beside
	// the output of a detached command.
	detachedOutputLimit = outputLimit - 16<<10
)

// The scripts of a detached command. Its folder is $dir/$name.$id; the id is
// new for each Run, so no script of another Run can meddle with it. Each may
// run any number of times, also beside itself: a script whose connection was
// cut may still be on its way.
//
// The command holds a lock (flock) on the file "lock" in its folder for as
// long as it lives, whatever ends it; "started" is there from just before it
// begins, "status" from its end on. The kernel forgets the lock with the
// process, so it cannot be stale as a process number can.
const (
	// prepareScript makes the folder: nothing is begun yet. It prints "ready",
	// or "busy" where one of the same name still runs. Ended ones are
	// forgotten: whoever would have come back for them is gone.
	prepareScript = `
set -eu
umask 077
mkdir -p -- "$dir"
for other in "$dir/$name".*; do
	if [ ! -d "$other" ] || [ "$other" = "$dir/$name.$id" ]; then continue; fi
	if [ -e "$other/lock" ] && ! flock -n "$other/lock" true; then echo busy; exit 0; fi
	rm -rf -- "$other"
done
mkdir -p -- "$dir/$name.$id"
echo ready
`
	// startScript begins the command unless that was done before: mkdir
	// decides. It prints "started", or "gone" where the folder is: then the
	// host has restarted. The command's input is in memory, in a file that has
	// no name any more when the command begins.
	startScript = `
set -eu
umask 077
d=$dir/$name.$id
if [ ! -d "$d" ]; then echo gone; exit 0; fi
if [ -e "$d/started" ]; then echo started; exit 0; fi
in=$(mktemp -- "$d/in.XXXXXX")
trap 'rm -f -- "$in"' EXIT
head -c "$size" >"$in"
if [ "$(stat -c %s -- "$in")" != "$size" ]; then echo "its input did not arrive whole" >&2; exit 1; fi
exec 8<"$in" 9>>"$d/lock"
rm -f -- "$in"
if flock -n 9 && mkdir -- "$d/started" 2>/dev/null; then
	setsid sh -c '
		sh -c "$2" 9>&-
		echo "$?" >"$1/status.new"
		mv -f -- "$1/status.new" "$1/status"
	' sh "$d" "$script" <&8 >"$d/stdout" 2>"$d/stderr" 8<&- &
fi
echo started
`
	// waitScript waits for the command's end, for $seconds at most. It prints
	// "running", "gone", "died" where the command ended without a status, or
	// "ended STATUS SIZE" and a line break, the output, and the end of what it
	// wrote to standard error.
	waitScript = `
set -eu
d=$dir/$name.$id
if [ ! -d "$d" ]; then echo gone; exit 0; fi
locked=0
flock -E 75 -w "$seconds" -- "$d/lock" true || locked=$?
if [ ! -e "$d/lock" ]; then echo gone; exit 0; fi
case $locked in 0) ;; 75) echo running; exit 0 ;; *) exit "$locked" ;; esac
if [ ! -e "$d/status" ]; then echo died; exit 0; fi
size=$(stat -c %s -- "$d/stdout")
echo "ended $(cat -- "$d/status") $size"
[ "$size" -le "$limit" ] || exit 0
head -c "$size" -- "$d/stdout"
tail -c 4096 -- "$d/stderr"
`
	forgetScript = `rm -rf -- "$dir/$name.$id"`
	// awaitScript prints the name of a command that still runs, or nothing.
	awaitScript = `
set -eu
for d in "$dir"/*.*; do
	[ -d "$d" ] || continue
	locked=0
	flock -E 75 -w "$seconds" -- "$d/lock" true || locked=$?
	case $locked in
	0) rm -rf -- "$d" ;;
	75) d=${d##*/}; echo "${d%.*}"; exit 0 ;;
	*) [ ! -e "$d/lock" ] || exit "$locked" ;;
	esac
done
`
)

// detached is one detached command of one Run.
type detached struct {
	host     *Host
	name, id string
}

// runDetached starts c on the host apart from the connection, and comes back
// until it has ended: exactly one start, however often the connection is lost
// at whatever instant. A folder is made for it first, and the command starts
// only where the folder is there and only once: so a start whose answer was
// lost can be asked for again, and a host that restarted meanwhile, and has
// forgotten the folder, never runs it a second time.
//
// The answer is read before it is forgotten. Where this program is killed in
// between, the next run does not ask for it: it waits for the command's end
// (AwaitDetached) and then looks at the world, which also says what happened
// after the command.
func (h *Host) runDetached(ctx context.Context, c remote.Command) (string, error) {
	ctx = remote.Changing(ctx)
	if err := remote.DetachName(c.Detach); err != nil {
		return "", err
	}
	if err := h.MayChange(ctx); err != nil {
		return "", err
	}
	d := detached{h, c.Detach, rand.Text()}
	answer, err := d.ask(ctx, "prepare", prepareScript, nil)
	if err != nil {
		return "", err
	}
	if string(answer) == "busy\n" {
		if err := h.AwaitDetached(ctx); err != nil {
			return "", err
		}
		return "", fmt.Errorf("%w: `%s` of an earlier run was still at it; it has ended now, and was not started again", remote.ErrUnknownOutcome, d.name)
	}
	began := time.Now()
	out, err := d.startAndWait(ctx, c)
	h.recordDetached(c, began, out, err)
	var exit *remote.ExitError
	if err != nil && !asExit(err, &exit) {
		return "", err
	}
	// How it ended is known; a result that is left behind is forgotten by the
	// next run or with the host's memory.
	if _, forgot := d.ask(ctx, "forget", forgetScript, nil); forgot != nil {
		h.log.Debug("a detached command's result stays on the host", "name", d.name, "error", forgot)
	}
	return out, err
}

func (d detached) startAndWait(ctx context.Context, c remote.Command) (string, error) {
	script := assign("script", c.Script, "size", strconv.Itoa(len(c.Stdin))) + startScript
	answer, err := d.ask(ctx, "start", script, c.Stdin)
	for err == nil && (string(answer) == "started\n" || string(answer) == "running\n") {
		answer, err = d.ask(ctx, "wait", assign("seconds", seconds(waitChunk), "limit", strconv.Itoa(detachedOutputLimit))+waitScript, nil)
	}
	var exit *remote.ExitError
	switch {
	case asExit(err, &exit): // of a script of ours: the command's own is in the answer
		return "", remote.Quoting(fmt.Errorf("%w: following it on the host: %s", remote.ErrUnknownOutcome, remote.LastWords(exit.Stderr)))
	case errors.Is(err, remote.ErrUnknownOutcome):
		return "", err
	case err != nil:
		return "", fmt.Errorf("%w, and it may go on there: %w", remote.ErrUnknownOutcome, err)
	}
	head, rest, _ := bytes.Cut(answer, []byte("\n"))
	switch string(head) {
	case "gone":
		return "", fmt.Errorf("%w: %s was restarted in the middle of it", remote.ErrUnknownOutcome, d.host.target.name)
	case "died":
		return "", fmt.Errorf("%w: it was killed on %s", remote.ErrUnknownOutcome, d.host.target.name)
	}
	return d.result(c, string(head), rest)
}

// result reads what waitScript printed of a command that ended.
func (d detached) result(c remote.Command, head string, rest []byte) (string, error) {
	var status, size int
	if _, err := fmt.Sscanf(head, "ended %d %d", &status, &size); err != nil {
		return "", fmt.Errorf("%w: not understood: %.40q", remote.ErrUnknownOutcome, head)
	}
	if size > detachedOutputLimit {
		return "", ErrOutputLimit
	}
	if len(rest) < size {
		return "", fmt.Errorf("%w: %d bytes of its output are there instead of %d", remote.ErrUnknownOutcome, len(rest), size)
	}
	out, stderr := string(rest[:size]), string(rest[size:])
	d.host.log.Debug("ran detached", "script", c.Script, "status", status)
	if status != 0 {
		return out, &remote.ExitError{Host: d.host.target.name, Script: c.Script, Status: status, Stderr: stderr}
	}
	return out, nil
}

// ask runs one of the scripts, again where the connection is lost. It carries
// no mark where it starts the command: that one must not be killed with it.
func (d detached) ask(ctx context.Context, verb, script string, stdin []byte) ([]byte, error) {
	mark := rand.Text()
	if verb == "start" {
		mark = ""
	}
	var out bytes.Buffer
	err := again(ctx, func() error {
		out.Reset()
		return d.host.exec(ctx, call{
			script: assign("dir", d.host.target.detachDir, "name", d.name, "id", d.id) + script,
			label:  verb + " detached " + d.name,
			stdin:  bytes.NewReader(stdin),
			stdout: &out,
			reads:  true,
			mark:   mark,
			// It is for its own command that it waits, and the engine tells of that. What
			// others ask in vain of a host with a lot to do does not count here.
			silence: d.host.way("detached commands"), limit: waitChunk + d.host.target.limits.look,
		})
	})
	return out.Bytes(), err
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) }

// AwaitDetached waits until no detached command runs on the host, for at most
// 15 minutes, and forgets those that have ended.
func (h *Host) AwaitDetached(ctx context.Context) error {
	ctx = remote.Changing(ctx)
	if err := h.MayChange(ctx); err != nil {
		return fmt.Errorf("waiting for the commands of an earlier run: %w", err)
	}
	all := detached{host: h}
	for began := time.Now(); ; {
		answer, err := all.ask(ctx, "await", assign("seconds", seconds(waitChunk))+awaitScript, nil)
		if err != nil {
			return fmt.Errorf("waiting for the commands of an earlier run on %s: %w", h.target.name, err)
		}
		running := strings.TrimSpace(string(answer))
		if running == "" {
			return nil
		}
		if time.Since(began) > awaitLimit {
			return fmt.Errorf("on %s, %q of an earlier run has been running for more than %s (its output is in %s/%s.*/stdout there): wait for its end or kill it, then run again",
				h.target.name, running, awaitLimit, h.target.detachDir, running)
		}
		h.log.Debug("a detached command of an earlier run is waited for", "name", running)
	}
}
