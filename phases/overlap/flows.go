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
	return forget(ctx, h,
		fmt.Sprintf("-d %s --orig-port-dst %s --reply-port-src %d", host, port, repliesFrom),
		fmt.Sprintf("-d %s --orig-port-dst %s --reply-port-src %d", service, servicePort, repliesFrom))
}

// ForgetClosed makes a node forget the closed connections that were answered
// from address (host:port), that of an API server which has left: whoever uses
// the port of such a connection again is then sent where the rules of now say.
// Without the tool conntrack it does nothing, as forgetClosed.
func ForgetClosed(ctx context.Context, h remote.Host, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	return forget(ctx, h, fmt.Sprintf("--reply-src %s --reply-port-src %s", host, port))
}

// forget makes the node forget closed connections, those of each filter of
// conntrack's.
func forget(ctx context.Context, h remote.Host, filters ...string) error {
	script := "command -v conntrack >/dev/null || exit 0\nfor s in TIME_WAIT CLOSE; do\n"
	for _, f := range filters {
		script += "  conntrack -D -p tcp --state $s " + f + "\n"
	}
	script += "done >/dev/null 2>&1 || true"
	if _, err := h.Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("making %s forget closed connections: %w", h.Name(), err)
	}
	return nil
}
