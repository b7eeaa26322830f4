package phases

import (
	"context"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
)

var (
	_ migrate.LossCounter = (*Access)(nil)
	_ migrate.Leftovers   = (*Access)(nil)
)

// Lost is how many connections to hosts were lost so far, where Hosts counts
// them.
func (w *Access) Lost() int {
	if hosts, ok := w.hosts.(interface{ Lost() int }); ok {
		return hosts.Lost()
	}
	return 0
}

// AwaitLeftovers waits for the detached commands that an earlier run left on
// the target and on the first control-plane node, on which steps for other
// targets run commands too.
func (w *Access) AwaitLeftovers(ctx context.Context, target string) error {
	first := w.spec.ControlPlane.First.Name
	h := w.Writer(target)
	if err := h.On(first).AwaitDetached(ctx); err != nil {
		return err
	}
	if _, err := w.host(target); err != nil || target == first {
		return nil // the whole cluster is no host
	}
	return h.On(target).AwaitDetached(ctx)
}

// Detached is a command by its words that runs on the host apart from the
// connection, see remote.Command.
func Detached(name string, words ...string) remote.Command {
	c := remote.Program(words...)
	c.Detach = name
	return c
}
