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

// kubeletKubeconfigs: the bootstrap one is left over on some clusters and is
// used again when the client certificate has expired.
var kubeletKubeconfigs = []string{"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/bootstrap-kubelet.conf"}

// kubelet points a worker's kubelet to the endpoint, one worker after the
// other. Only the server's line is changed: `kubeadm init phase kubeconfig
// kubelet` would write the local address since 1.33 (kubernetes/kubeadm#3243),
// and the rotated client certificate is a symbolic link that must stay.
func kubelet() phases.Step {
	return phases.Step{
		ID:     "loadbalancer/kubelet",
		Title:  "Point the worker's kubelet to the endpoint",
		Why:    "A kubelet that can't renew its lease for 50 s loses its node.",
		On:     migrate.Workers,
		Needs:  []migrate.StepID{endpointID, endpointNameID},
		ByHand: "```\nsed -i 's#server: .*#server: https://{{.Endpoint}}#' /etc/kubernetes/kubelet.conf\nsystemctl restart kubelet\nkubectl get node {{.Target}}    # Ready, before the next worker\nss -tnp | grep kubelet             # talks to {{.Endpoint}}\n```\n",
		Check:  checkKubelet,
		Apply:  applyKubelet,
		Verify: verifyKubelet,
		Undo:   undoKubelet,
		Settle: 3 * time.Minute, WaitsFor: "kubelet",
	}
}

func checkKubelet(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	f, err := checkServers(ctx, v, kubeletKubeconfigs)
	if err != nil || f.Verdict != migrate.Satisfied {
		return f, err
	}
	// The file alone proves nothing: the kubelet reads it when it starts.
	connected, others, err := endpointPeers(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	before := migrate.Before{}
	if connected && len(others) == 0 {
		old, err := followsOldName(ctx, v)
		if err != nil {
			return migrate.Finding{}, err
		}
		if old {
			return phases.Need(before, "kubelet.conf names the endpoint, and its name means what it meant before phase 1"), nil
		}
		return phases.Done("the kubelet is connected to %s", v.EndpointAddress()), nil
	}
	if len(others) > 0 {
		// It came to the API server's own address by this name: so it was before
		// the name meant the load balancer, and so it is to be again on the way back.
		named, err := filesNaming(ctx, v, v.Target(), kubeletKubeconfigs)
		if err != nil {
			return migrate.Finding{}, err
		}
		for _, what := range named {
			before[strings.TrimPrefix(what, v.Target()+":")] = v.EndpointURL()
		}
	}
	return phases.Need(before, "kubelet.conf names the endpoint, but the kubelet is not connected to it"), nil
}

func applyKubelet(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	host := h.On(h.Target())
	for _, file := range kubeletKubeconfigs {
		if err := hostfiles.SetKubeconfigServer(ctx, host, file, h.EndpointURL()); err != nil {
			return err
		}
	}
	if _, err := host.Run(ctx, remote.Program("systemctl", "restart", "kubelet")); err != nil {
		return fmt.Errorf("restarting the kubelet on %s: %w", h.Target(), err)
	}
	return nil
}

// verifyKubelet wants the node Ready, its lease renewed since the kubelet
// started, and the kubelet's own sockets at the endpoint.
func verifyKubelet(ctx context.Context, v phases.Reader) error {
	return parallel.Do(
		func() error {
			f, err := checkServers(ctx, v, kubeletKubeconfigs)
			if err == nil && f.Verdict != migrate.Satisfied {
				err = errors.New(f.Reason)
			}
			return err
		},
		func() error { return phases.KubeletSeen(ctx, v, v.Target()) },
		func() error {
			connected, others, err := endpointPeers(ctx, v)
			if err == nil && (!connected || len(others) > 0) {
				err = fmt.Errorf("the kubelet on %s is not connected to %s alone (also: %s)", v.Target(), v.EndpointAddress(), strings.Join(others, ", "))
			}
			return err
		})
}

// KubeletTalks says how the kubelet on the target is connected: to the endpoint,
// and to which addresses of the first API server besides.
func KubeletTalks(ctx context.Context, v phases.Reader) (toEndpoint bool, others []string, err error) {
	return endpointPeers(ctx, v)
}

// endpointPeers is kubeletPeers on the way there: to the endpoint, and no
// longer to the API server's old address. A name that means the old address is no
// way through the load balancer.
func endpointPeers(ctx context.Context, v phases.Reader) (connected bool, others []string, err error) {
	old, err := v.APIAddress(ctx, v.First().Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, nil, err
	}
	atOld, through, err := kubeletPeers(ctx, v, old, v.EndpointAddress())
	if atOld {
		others = []string{old}
	}
	return len(through) > 0, others, err
}

// kubeletPeers reads the kubelet's established connections: is there one to
// the wanted address (host:port), and are there others to one of the unwanted?
// What both mean is wanted. Names are resolved on the node.
func kubeletPeers(ctx context.Context, v phases.Reader, wanted string, unwanted ...string) (connected bool, others []string, err error) {
	var script strings.Builder
	for i, address := range append([]string{wanted}, unwanted...) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return false, nil, fmt.Errorf("reading the kubelet's connections on %s: %w", v.Target(), err)
		}
		fmt.Fprintf(&script, "getent ahostsv4 %s | awk '{print $1}' | sort -u | sed 's/$/:%s/'\n", remote.Quote(host), port)
		if i == 0 { // also where nothing is unwanted: three parts are read
			script.WriteString("echo --\n")
		}
	}
	script.WriteString("echo --\n")
	script.WriteString(`ss -Htnp state established | grep '"kubelet"' | awk '{print $4}' || true`)
	out, err := v.On(v.Target()).Look(ctx, remote.Command{Script: script.String()})
	if err != nil {
		return false, nil, fmt.Errorf("reading the kubelet's connections on %s: %w", v.Target(), err)
	}
	wantedLines, out, _ := strings.Cut(out, "--\n")
	unwantedLines, peers, _ := strings.Cut(out, "--\n")
	for peer := range strings.FieldsSeq(peers) {
		peer = strings.Replace(peer, "[::ffff:", "", 1)
		peer = strings.Replace(peer, "]:", ":", 1)
		switch {
		case strings.Contains("\n"+wantedLines, "\n"+peer+"\n"):
			connected = true
		case strings.Contains("\n"+unwantedLines, "\n"+peer+"\n"):
			others = append(others, peer)
		}
	}
	return connected, others, nil
}

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
