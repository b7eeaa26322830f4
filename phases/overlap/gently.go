package overlap

import (
	"context"
	"fmt"
	"net"

	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

const (
	// holdTable is the nft table that lets no packet of a kept connection
	// reach an API server that is about to be told to stop.
	holdTable = "migrate_hold"
	// holdTime is for the API server to say on each connection that it goes
	// away; the kernel lets packets in again after holdLimit by itself.
	holdTime  = "0.3"
	holdLimit = "2s"
)

// gentlyScript tells the process %[4]d to stop while nothing new reaches it on
// %[1]s port %[2]s. Without nft it changes nothing: the kubelet's own signal
// does the same, with some requests answered 503 now and then.
const gentlyScript = `command -v nft >/dev/null || exit 0
[ "$(cat /proc/%[4]d/comm 2>/dev/null)" = kube-apiserver ] || exit 0
nft -f - <<EOF || exit 0
add table ip ` + holdTable + `
delete table ip ` + holdTable + `
table ip ` + holdTable + ` {
  set ports { type inet_service; flags timeout; elements = { %[2]s timeout ` + holdLimit + ` } }
  chain arriving { type filter hook input priority -150; policy accept; ip daddr %[1]s tcp dport @ports drop; }
}
EOF
sleep 0.1
kill -TERM %[4]d
sleep %[3]s
nft delete table ip ` + holdTable + `
` + forgetScript

// StopGently tells the real API server to stop, so that clients which kept
// their connections to it lose no request. Between two instants of its
// shutdown, some milliseconds, it answers 503 to what arrives on them
// (k8s.io/apiserver: server/genericapiserver.go, NotAcceptingNewRequest, and
// filters/waitgroup.go); nothing arrives then. What it had not seen when it
// said goodbye (GOAWAY), HTTP/2 clients send again on a new connection, which
// the redirect leads to the second API server.
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
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return p, err
	}
	defer h.World().Waiting()()
	if _, err := h.On(node).Run(ctx, remote.Command{Script: fmt.Sprintf(gentlyScript, host, port, holdTime, p.PID)}); err != nil {
		return p, fmt.Errorf("telling the API server on %s to stop: %w", node, err)
	}
	return p, nil
}
