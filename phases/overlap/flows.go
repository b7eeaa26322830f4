package overlap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"hamigrate/migrate/remote"

	"k8s.io/apimachinery/pkg/util/wait"
)

// forgetClosed makes the node forget connections that are closed. The nat
// rules are asked once a connection; the kernel remembers the answer for two
// minutes after the connection was closed, and a client that uses the same
// port again within them is taken for the old connection (SYN in TIME_WAIT:
// net/netfilter/nf_conntrack_proto_tcp.c). It would be sent where the rules
// of then said, to an API server that is about to stop.
//
// repliesFrom is the port that such connections were answered from. With the
// tool conntrack they are deleted; without it they are waited for; where the
// kernel shows neither, nothing can be done or known.
func forgetClosed(ctx context.Context, h remote.Host, r redirect, repliesFrom int) error {
	host, port, err := net.SplitHostPort(r.address)
	if err != nil {
		return err
	}
	service, servicePort, err := net.SplitHostPort(r.service)
	if err != nil {
		return err
	}
	script := fmt.Sprintf(`if command -v conntrack >/dev/null; then for s in TIME_WAIT CLOSE; do
  conntrack -D -p tcp --state $s -d %[1]s --orig-port-dst %[2]s; conntrack -D -p tcp --state $s -d %[3]s --orig-port-dst %[4]s
done >/dev/null 2>&1; fi
[ -r /proc/net/nf_conntrack ] || { echo 0; exit 0; }
grep -E ' (TIME_WAIT|CLOSE) .* dst=(%[1]s|%[3]s) .* dport=(%[2]s|%[4]s) .* sport=%[5]d ' /proc/net/nf_conntrack | wc -l`,
		host, port, service, servicePort, repliesFrom)
	last := ""
	err = wait.PollUntilContextTimeout(ctx, time.Second, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
		out, err := h.Run(ctx, remote.Command{Script: script})
		last = strings.TrimSpace(out)
		return last == "0", err
	})
	if err != nil {
		return errors.Join(fmt.Errorf("waiting for closed connections to be forgotten on %s: %w", h.Name(), err), fmt.Errorf("%q are left", last))
	}
	return nil
}
