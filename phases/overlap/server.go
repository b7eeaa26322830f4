package overlap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strconv"
	"time"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/process"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"

	"k8s.io/client-go/rest"
)

// podEnd is the kubelet's time to stop a pod: it looks into the manifests
// folder, and the API server's watches are cut by the second signal, or after
// terminationGracePeriodSeconds (30 s).
const podEnd = 90 * time.Second

// temporaryConfig reaches the temporary API server of the target from that node.
// Its certificate is the real one's, which holds the node's address and not the
// loopback one.
func temporaryConfig(ctx context.Context, v phases.Reader) (*rest.Config, error) {
	return apiserver.ConfigAt(ctx, v, v.Target(), Port)
}

// beside is the address (host:port) of the temporary API server beside the one
// at address.
func beside(address string) (string, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(Port)), nil
}

// temporaryAddress is where the target's temporary API server answers, as
// host:port.
func temporaryAddress(ctx context.Context, v phases.Reader) (string, error) {
	address, err := v.APIAddress(ctx, v.Target())
	if err != nil {
		return "", err
	}
	return beside(address)
}

// temporaryThere says whether the temporary API server's manifest is in place.
func temporaryThere(ctx context.Context, r remote.Reader) (bool, error) {
	_, err := r.ReadFile(ctx, ManifestPath)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// temporaryReady says that the temporary API server's manifest is in place and
// it answers: a file alone serves nobody.
func temporaryReady(ctx context.Context, v phases.Reader) (bool, error) {
	there, err := temporaryThere(ctx, v.On(v.Target()))
	if err != nil || !there {
		return false, err
	}
	cfg, err := temporaryConfig(ctx, v)
	if err != nil {
		return false, err
	}
	return kube.Readyz(ctx, cfg) == nil, nil
}

// temporaryProcess is the process of the temporary API server, ready or not;
// runs is false where there is none.
func temporaryProcess(ctx context.Context, v phases.Reader) (p process.Running, runs bool, err error) {
	list, err := apiserver.Processes(ctx, v.On(v.Target()))
	i := slices.IndexFunc(list, func(p process.Running) bool {
		port, _ := p.Flags.Get("secure-port")
		return port == strconv.Itoa(Port)
	})
	if err != nil || i < 0 {
		return process.Running{}, false, err
	}
	return list[i], true, nil
}

// temporaryRuns says whether a process of the temporary API server runs, ready
// or not.
func temporaryRuns(ctx context.Context, v phases.Reader) (bool, error) {
	_, runs, err := temporaryProcess(ctx, v)
	return runs, err
}

// temporaryHas is the error that no process of the temporary API server runs with
// these arguments.
func temporaryHas(ctx context.Context, v phases.Reader, flags map[string]string) error {
	p, runs, err := temporaryProcess(ctx, v)
	if err != nil {
		return err
	}
	if !runs {
		return fmt.Errorf("no second API server runs on %s", v.Target())
	}
	for name, want := range flags {
		if have, _ := p.Flags.Get(name); have != want {
			return fmt.Errorf("the second API server on %s runs with --%s=%s", v.Target(), name, have)
		}
	}
	return nil
}

// temporaryGone is the error that the temporary API server still runs.
func temporaryGone(ctx context.Context, v phases.Reader) error {
	runs, err := temporaryRuns(ctx, v)
	if err == nil && runs {
		err = fmt.Errorf("the second API server still runs on %s", v.Target())
	}
	return err
}

// stopTemporary is apiserver.Stop for the temporary API server, right before its
// manifest is removed. Where that is gone, the kubelet has signalled it already.
func stopTemporary(ctx context.Context, h phases.Writer) error {
	if there, err := temporaryThere(ctx, h.On(h.Target())); err != nil || !there {
		return err
	}
	address, err := temporaryAddress(ctx, h.Reader)
	if err != nil {
		return err
	}
	p, runs, err := temporaryProcess(ctx, h.Reader)
	if err != nil || !runs {
		return err
	}
	return apiserver.StopProcess(ctx, h, address, p)
}

// awaitTemporaryEnd is apiserver.AwaitEnd for the temporary API server.
func awaitTemporaryEnd(ctx context.Context, h phases.Writer) error {
	address, err := temporaryAddress(ctx, h.Reader)
	if err != nil {
		return err
	}
	return apiserver.AwaitEnd(ctx, h, address, podEnd, func(ctx context.Context) error { return temporaryGone(ctx, h.Reader) })
}
