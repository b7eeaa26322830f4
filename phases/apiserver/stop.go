package apiserver

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/process"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

const (
	// dropTable is the nft table that lets no packet of a kept connection
	// reach an API server that is about to be signalled.
	dropTable = "migrate_hold"
	// dropLimit is when the kernel lets packets in again by itself.
	dropLimit = "2s"
	// goodbyes is for the API server to say on each connection that it goes
	// away, once it listens no more: one goroutine a connection does it.
	goodbyes = "0.2"
	// listenerLooks bounds the wait for that. A look takes 20 ms and what its
	// programs take, some 10 ms; all together they are less than dropLimit.
	listenerLooks = 40
	// hooksTime is for pre-shutdown hooks that take longer than that: the one that
	// takes its lease away up to 20 s where etcd hangs, the one that takes its
	// identity away up to 10 s (kubernetes:
	// pkg/controlplane/controller/kubernetesservice/controller.go, Stop;
	// k8s.io/component-helpers: apimachinery/lease/controller.go).
	hooksTime = 30 * time.Second
	// drainTime is for the requests that are being answered when the API server
	// is signalled. The kubelet's own signal is then a second one, which ends
	// it at once (k8s.io/apiserver: pkg/server/signal.go). Without a second one
	// its watches would keep it until the kubelet kills it (30 s,
	// terminationGracePeriodSeconds).
	drainTime = 10 * time.Second
	// restartEnd is the kubelet's time to stop an API server that is restarted.
	// With all other waits of a restart it is less than watchdogSeconds.
	restartEnd = time.Minute
	// signalledMark on a node names the process that was signalled last, by its
	// ID and the time of its start.
	signalledMark = "/run/migrate-told"
)

// dropRules are for nft: nothing for %[1]s port %[2]s passes.
const dropRules = `add table ip ` + dropTable + `
delete table ip ` + dropTable + `
table ip ` + dropTable + ` {
  set ports { type inet_service; flags timeout; elements = { %[2]s timeout ` + dropLimit + ` } }
  chain arriving { type filter hook input priority -150; policy accept; ip daddr %[1]s tcp dport @ports drop; }
}
`

// stopScript signals the process %[3]d while nothing new reaches it on %[1]s
// port %[2]s, once, and says "told", or "listens" where the wait for its goodbye
// was not long enough. It says nothing, and changes nothing, where its clients'
// packets can't be dropped, and of a process that does not listen yet: the
// kubelet's own signal does the same, with some requests answered 503 now and
// then.
const stopScript = `command -v nft >/dev/null && command -v ss >/dev/null || exit 0
[ "$(cat /proc/%[3]d/comm 2>/dev/null)" = kube-apiserver ] || exit 0
read -r stat </proc/%[3]d/stat || exit 0
set -- $stat
process="%[3]d ${22}" told=
[ "$(cat ` + signalledMark + ` 2>/dev/null)" != "$process" ] || told=before
listens() { [ -n "$(ss -Hltn 'sport = :%[2]s')" ]; }
if listens; then
  nft -f - <<EOF || [ -n "$told" ] || exit 0
` + dropRules + `EOF
  if [ -z "$told" ]; then
    sleep 0.1
    echo "$process" >` + signalledMark + `
    kill -TERM %[3]d
    told=now
  fi
  n=0
  while listens && [ $n -lt %[4]d ]; do n=$((n+1)); sleep 0.02; done
  sleep ` + goodbyes + `
  nft delete table ip ` + dropTable + `
fi
[ -n "$told" ] || exit 0
if listens; then echo listens; else echo told; fi
` + forgetScript

// CanDrop says whether packets of kept connections can be dropped on a node: the
// tools are there, and the kernel has what the rules need.
func CanDrop(ctx context.Context, r remote.Reader) (bool, error) {
	script := "command -v nft >/dev/null && command -v ss >/dev/null && nft -c -f - >/dev/null 2>&1 <<EOF && echo yes || true\n" + fmt.Sprintf(dropRules, "127.0.0.1", "6443") + "EOF\n"
	out, err := r.Look(ctx, remote.Command{Script: script})
	if err != nil {
		return false, fmt.Errorf("looking for nft on %s: %w", r.Name(), err)
	}
	return strings.TrimSpace(out) == "yes", nil
}

// Stop tells the target's own API server to stop, so that clients which
// kept their connections to it lose no request. It first takes itself out of
// the Service (its pre-shutdown hooks), and serves meanwhile. Then, between two
// instants, some milliseconds, it answers 503 to what arrives on kept
// connections (k8s.io/apiserver: server/genericapiserver.go,
// NotAcceptingNewRequest, and filters/waitgroup.go); nothing arrives then. In
// the second of these it stops to listen, and tells each client to go away
// (GOAWAY). What it had not seen by then, HTTP/2 clients send again on a new
// connection, which a redirect leads to another API server by now. What it had
// seen it answers: for that it is given drainTime.
//
// It is for the moment before the manifest is changed or removed: the kubelet
// then finds a process that has let its clients go. Should the change not
// follow, the kubelet starts the same API server again. The process is returned
// for AwaitStopped; where none runs it is an empty one. That the time is over is
// no error, that the run is to stop or the node does not answer is one.
func Stop(ctx context.Context, h phases.Writer) (process.Running, error) {
	p, running, err := h.APIServer(ctx, h.Target())
	if err != nil || !running {
		return process.Running{}, err
	}
	address, err := h.APIAddress(ctx, h.Target())
	if err != nil {
		return p, err
	}
	return p, StopProcess(ctx, h, address, p)
}

// StopProcess is Stop for a process that answers at address (host:port).
// One that says goodbye later than its hooks let it is left to the kubelet: a
// second signal before that would cut everything.
func StopProcess(ctx context.Context, h phases.Writer, address string, p process.Running) error {
	if delaysGoodbye(p.Flags) {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	said, err := signal(ctx, h, address, p)
	if err != nil || said == "" {
		return err
	}
	if said == "listens" {
		err := phases.Await(ctx, h.Reader, hooksTime, func(ctx context.Context) error { return notListening(ctx, h.On(h.Target()), port) })
		if err := IgnoreTimeout(ctx, err); err != nil {
			return err
		}
	}
	return IgnoreTimeout(ctx, AwaitEnd(ctx, h, address, drainTime, ended(h, p)))
}

// delaysGoodbye: after a delay, or when all it was answering is answered
// (k8s.io/apiserver: server/genericapiserver.go, ShutdownSendRetryAfter).
func delaysGoodbye(flags kube.Flags) bool {
	if delay, ok := flags.Get("shutdown-delay-duration"); ok {
		if d, err := time.ParseDuration(delay); err != nil || d > 0 {
			return true
		}
	}
	after, ok := flags.Get("shutdown-send-retry-after")
	return ok && after != "false"
}

func signal(ctx context.Context, h phases.Writer, address string, p process.Running) (said string, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	defer h.Access().Waiting()()
	out, err := h.On(h.Target()).Run(ctx, remote.Command{Script: fmt.Sprintf(stopScript, host, port, p.PID, listenerLooks)})
	if err != nil {
		return "", fmt.Errorf("telling the API server on %s to stop: %w", h.Target(), err)
	}
	return strings.TrimSpace(out), nil
}

// notListening is the error that somebody listens on a port.
func notListening(ctx context.Context, r remote.Reader, port string) error {
	out, err := r.Look(ctx, remote.Command{Script: "ss -Hltn 'sport = :" + port + "'"})
	if err != nil {
		return fmt.Errorf("looking for listeners on %s: %w", r.Name(), err)
	}
	if strings.TrimSpace(out) != "" {
		return fmt.Errorf("the API server on %s that is to end still listens on port %s", r.Name(), port)
	}
	return nil
}

// AwaitStopped is AwaitEnd for a process that Stop has returned; one that
// is not there has ended. It says nothing of one that takes longer than that:
// whether the API server is restarted is told by the step's Verify, which has
// more time.
func AwaitStopped(ctx context.Context, h phases.Writer, was process.Running) error {
	address, err := h.APIAddress(ctx, h.Target())
	if err != nil {
		return err
	}
	return IgnoreTimeout(ctx, AwaitEnd(ctx, h, address, restartEnd, ended(h, was)))
}
