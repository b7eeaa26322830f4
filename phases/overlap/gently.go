package overlap

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

const (
	// holdTable is the nft table that lets no packet of a kept connection
	// reach an API server that is about to be told to stop.
	holdTable = "migrate_hold"
	// holdLimit is when the kernel lets packets in again by itself.
	holdLimit = "2s"
	// goodbyes is for the API server to say on each connection that it goes
	// away, once it listens no more: one goroutine a connection does it.
	goodbyes = "0.2"
	// listenerLooks at 20 ms bound the wait for that; with all the rest they are
	// less than holdLimit.
	listenerLooks = 70
	// drainTime is for the requests that are being answered when the API server
	// is told to stop. The kubelet's own signal is then a second one, which ends
	// it at once (k8s.io/apiserver: pkg/server/signal.go). Its watches never end
	// by themselves, so it does not either before its shutdown's 60 s are over.
	drainTime = 10 * time.Second
)

// gentlyScript tells the process %[3]d to stop while nothing new reaches it on
// %[1]s port %[2]s, and says so. A process that listens no more was told: it is
// told but once. Without nft it changes nothing: the kubelet's own signal does
// the same, with some requests answered 503 now and then.
const gentlyScript = `command -v nft >/dev/null || exit 0
[ "$(cat /proc/%[3]d/comm 2>/dev/null)" = kube-apiserver ] || exit 0
listens() { [ -n "$(ss -Hltn 'sport = :%[2]s')" ]; }
listens || { echo told; exit 0; }
nft -f - <<EOF || exit 0
add table ip ` + holdTable + `
delete table ip ` + holdTable + `
table ip ` + holdTable + ` {
  set ports { type inet_service; flags timeout; elements = { %[2]s timeout ` + holdLimit + ` } }
  chain arriving { type filter hook input priority -150; policy accept; ip daddr %[1]s tcp dport @ports drop; }
}
EOF
sleep 0.1
kill -TERM %[3]d
n=0
while listens && [ $n -lt %[4]d ]; do n=$((n+1)); sleep 0.02; done
sleep ` + goodbyes + `
nft delete table ip ` + holdTable + `
echo told
` + forgetScript

// StopGently tells the real API server to stop, so that clients which kept
// their connections to it lose no request. It first takes itself out of the
// Service (its pre-shutdown hooks), and serves meanwhile. Then, between two
// instants, some milliseconds, it answers 503 to what arrives on kept
// connections (k8s.io/apiserver: server/genericapiserver.go,
// NotAcceptingNewRequest, and filters/waitgroup.go); nothing arrives then. In
// the second of these it stops to listen, and tells each client to go away
// (GOAWAY). What it had not seen by then, HTTP/2 clients send again on a new
// connection, which the redirect leads to the second API server. What it had
// seen it answers: for that it is given drainTime.
//
// It is for the moment before the manifest is changed: the kubelet then finds
// a process that has let its clients go. Should the change not follow, the
// kubelet starts the same API server anew. The process is returned for
// AwaitStopped; where none runs it is an empty one.
func StopGently(ctx context.Context, h phases.Hands, node string) (phases.Process, error) {
	p, running, err := h.APIServer(ctx, node)
	if err != nil || !running {
		return phases.Process{}, err
	}
	address, err := h.APIAddress(ctx, node)
	if err != nil {
		return p, err
	}
	return p, stopGently(ctx, h, node, address, p)
}

// stopGently is StopGently for a process that answers at address (host:port).
// One with a --shutdown-delay-duration is left to the kubelet: when its goodbye
// comes is for that to say, and a second signal before would cut everything.
func stopGently(ctx context.Context, h phases.Hands, node, address string, p phases.Process) error {
	if delay, ok := p.Flags.Get("shutdown-delay-duration"); ok {
		if d, err := time.ParseDuration(delay); err != nil || d > 0 {
			return nil
		}
	}
	told, err := tellToStop(ctx, h, node, address, p)
	if err != nil || !told {
		return err
	}
	return onlyStopped(ctx, AwaitEnd(ctx, h, address, drainTime, ended(h, node, p)))
}

func tellToStop(ctx context.Context, h phases.Hands, node, address string, p phases.Process) (told bool, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false, err
	}
	defer h.World().Waiting()()
	out, err := h.On(node).Run(ctx, remote.Command{Script: fmt.Sprintf(gentlyScript, host, port, p.PID, listenerLooks)})
	if err != nil {
		return false, fmt.Errorf("telling the API server on %s to stop: %w", node, err)
	}
	return strings.TrimSpace(out) == "told", nil
}

// tellTwin is StopGently for the second API server, right before its manifest
// is removed. One that does not run yet, or no more, is told nothing.
func tellTwin(ctx context.Context, h phases.Hands) error {
	address, err := twinAddress(ctx, h.View)
	if err != nil {
		return err
	}
	p, runs, err := twinProcess(ctx, h.View)
	if err != nil || !runs {
		return err
	}
	return stopGently(ctx, h, h.Target(), address, p)
}

// AwaitStopped is AwaitEnd for a process that StopGently has returned; one that
// is not there has ended. It says nothing of one that takes longer than that:
// whether the API server is restarted is told by the step's Verify, which has
// more time.
func AwaitStopped(ctx context.Context, h phases.Hands, was phases.Process) error {
	address, err := h.APIAddress(ctx, h.Target())
	if err != nil {
		return err
	}
	return onlyStopped(ctx, AwaitEnd(ctx, h, address, podEnd, ended(h, h.Target(), was)))
}

// ended asks whether an API server's process is there no more.
func ended(h phases.Hands, node string, was phases.Process) func(context.Context) error {
	return func(ctx context.Context) error {
		list, err := phases.Processes(ctx, h.On(node), "kube-apiserver")
		if err == nil && slices.ContainsFunc(list, func(p phases.Process) bool { return p.PID == was.PID }) {
			err = fmt.Errorf("the API server on %s that is to end still runs, as process %d", node, was.PID)
		}
		return err
	}
}
