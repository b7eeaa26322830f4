package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// kubeletBack is how long a kubelet may take to be back at the old address.
const kubeletBack = 3 * time.Minute

// undoKubelet points the kubelet to the server of before and waits, like the
// way there, until the node is Ready, its lease renewed and the kubelet
// connected there alone. A kubelet that is so already is not restarted. before
// may be nil: a worker that joined later has no record.
func undoKubelet(ctx context.Context, h phases.Writer, before migrate.Before) error {
	before, err := withNamed(ctx, h.Reader, before)
	if err != nil {
		return err
	}
	moved, err := serversBack(ctx, h, kubeletKubeconfigs, before)
	if err != nil {
		return err
	}
	host := h.On(h.Target())
	server, err := hostfiles.KubeconfigServer(ctx, host, kubeletKubeconfigs[0])
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no kubelet follows it
	}
	if err != nil {
		return err
	}
	to, err := url.Parse(server)
	if err != nil {
		return fmt.Errorf("on %s, %s: reading the server: %w", h.Target(), kubeletKubeconfigs[0], err)
	}
	if server == h.EndpointURL() { // as it was before: see serversBack
		if err := nameBack(ctx, h, before); err != nil {
			return err
		}
	}
	// A run that was killed may have changed the file and no more.
	if moved || kubeletAt(ctx, h.Reader, to) != nil {
		if _, err := host.Run(ctx, remote.Program("systemctl", "restart", "kubelet")); err != nil {
			return fmt.Errorf("restarting the kubelet on %s: %w", h.Target(), err)
		}
	}
	err = phases.Await(ctx, h.Reader, kubeletBack, func(ctx context.Context) error {
		return parallel.Do(
			func() error { return phases.KubeletSeen(ctx, h.Reader, h.Target()) },
			func() error { return kubeletAt(ctx, h.Reader, to) })
	})
	if err != nil {
		return fmt.Errorf("waiting for the kubelet on %s to be back at %s: %w", h.Target(), server, err)
	}
	return nil
}

// withNamed adds to a pre-image which of the target's files named the endpoint
// before this phase. The step itself can't tell where the kubelet was connected to
// an address that is not the API server's own.
func withNamed(ctx context.Context, v phases.Reader, before migrate.Before) (migrate.Before, error) {
	old, err := oldName(ctx, v, before)
	if err != nil {
		return nil, err
	}
	out := migrate.Before{}
	maps.Copy(out, before)
	for _, file := range kubeletKubeconfigs {
		if out[file] == "" && slices.Contains(old.Named, v.Target()+":"+file) {
			out[file] = v.EndpointURL()
		}
	}
	return out, nil
}

// kubeletAt wants the kubelet connected to a server and not to the endpoint; or,
// where the server is the endpoint by its name's old meaning, not to a load
// balancer.
func kubeletAt(ctx context.Context, v phases.Reader, server *url.URL) error {
	wanted, unwanted := server.Host, []string{v.EndpointAddress()}
	if server.Port() == "" {
		wanted += ":443"
	}
	if server.String() == v.EndpointURL() {
		unwanted = nil
		for _, lb := range v.Spec().LoadBalancer.Hosts {
			unwanted = append(unwanted, net.JoinHostPort(lb.Address, strconv.Itoa(v.Spec().Endpoint.Port)))
		}
	}
	connected, others, err := kubeletPeers(ctx, v, wanted, unwanted...)
	if err == nil && (!connected || len(others) > 0) {
		err = fmt.Errorf("the kubelet on %s is not connected to %s alone (also: %s)", v.Target(), wanted, strings.Join(others, ", "))
	}
	return err
}
