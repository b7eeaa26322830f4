package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
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
