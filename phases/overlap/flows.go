package overlap

import (
	"context"
	"fmt"
	"net"

	"hamigrate/migrate/remote"
)

// forgetClosed makes the node forget connections that are closed. The nat
// rules are asked once a connection; the kernel remembers the answer for two
// minutes after the connection was closed, and a client that uses the same
// port again within them is taken for the old connection (SYN in TIME_WAIT:
// net/netfilter/nf_conntrack_proto_tcp.c). It would be sent where the rules
// of then said, to an API server that is about to stop.
//
// repliesFrom is the port that such connections were answered from. Those to the
// Service are forgotten whichever API server answered them: one that has left
// the cluster since would refuse whoever uses such a port again. This needs
// the tool conntrack, which kubeadm's own preflight used to ask for. Without
// it nothing is done: a client that uses such a port again is then refused
// once, which has to be rare to be noticed in thousands of connections.
func forgetClosed(ctx context.Context, h remote.Host, r redirect, repliesFrom int) error {
	host, port, err := net.SplitHostPort(r.address)
	if err != nil {
		return err
	}
	service, servicePort, err := net.SplitHostPort(r.service)
	if err != nil {
		return err
	}
	script := fmt.Sprintf(`command -v conntrack >/dev/null || exit 0
for s in TIME_WAIT CLOSE; do
  conntrack -D -p tcp --state $s -d %[1]s --orig-port-dst %[2]s --reply-port-src %[5]d
  conntrack -D -p tcp --state $s -d %[3]s --orig-port-dst %[4]s --reply-port-src %[5]d
done >/dev/null 2>&1 || true`, host, port, service, servicePort, repliesFrom)
	if _, err := h.Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("making %s forget closed connections: %w", h.Name(), err)
	}
	return nil
}
