package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"hamigrate/migrate/process"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// An API server that ends resets some of its connections: those whose requests
// it had not read. The nat rules are asked once a connection, and the kernel
// remembers the answer of one that the other end has reset for 10 s
// (nf_conntrack_tcp_timeout_close). A client that uses the same port again
// within them is sent where the rules of then said, and refused, though the
// redirect would lead it to an API server that answers. Of connections that
// ended in another way it forgets by itself when a port is used again
// (net/netfilter/nf_conntrack_proto_tcp.c, IP_CT_TCP_FLAG_CLOSE_INIT).

// forgetScript makes a node forget the reset connections that %[1]s port %[2]s
// has answered. This needs the tool conntrack, which kubeadm's own preflight
// used to ask for. Without it nothing is done: a client that uses such a port
// again is then refused. That there was none is an exit code of 1.
const forgetScript = `if command -v conntrack >/dev/null; then conntrack -D -p tcp --state CLOSE --reply-src %[1]s --reply-port-src %[2]s >/dev/null 2>&1 || true; fi`

// endDropScript removes the table of a script that was cut off while packets
// were dropped.
const endDropScript = "nft delete table ip " + dropTable + " 2>/dev/null || true\n"

// ForgetReset makes a node forget the reset connections that were answered
// from address (host:port), if it has the tool for it.
func ForgetReset(ctx context.Context, h remote.Host, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if _, err := h.Run(ctx, remote.Command{Script: endDropScript + fmt.Sprintf(forgetScript, host, port)}); err != nil {
		return fmt.Errorf("making %s forget reset connections: %w", h.Name(), err)
	}
	return nil
}

// AwaitEnd waits until an API server of the target has ended, by gone, while
// new clients are led elsewhere. The node forgets what it resets on the way
// and, the most, at its very end. address (host:port) is where it answered.
func AwaitEnd(ctx context.Context, h phases.Writer, address string, limit time.Duration, gone func(context.Context) error) error {
	return phases.Await(ctx, h.Reader, limit, func(ctx context.Context) error {
		err := gone(ctx)
		if err == nil {
			err = process.Dying(ctx, h.On(h.Target()), program)
		}
		return errors.Join(err, ForgetReset(ctx, h.On(h.Target()), address))
	})
}

// IgnoreTimeout returns the error of a wait only where ctx is done: the run is
// to end. That the time of the wait is over is no error: a later look tells.
func IgnoreTimeout(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return nil
}
