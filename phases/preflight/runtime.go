package preflight

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/kubeadm"
	"hamigrate/migrate/remote"
)

// runtimeState is what a host has of container runtimes.
type runtimeState struct {
	socket    bool     // the one that was asked for is there, and a socket
	listens   bool     // somebody listens on it
	answers   string   // what the runtime says of itself, "" where nothing was asked
	failed    string   // what the question ended with
	asked     bool     // there was a tool to ask it with
	driver    string   // the cgroup driver by its configuration: systemd, cgroupfs, or "" for not known
	others    []string // other sockets that kubeadm knows
	images    []string
	imagesAre bool // there was a tool to list them with
}

// knownSockets are kubeadm's (constants.CRISocketContainerd, …CRIO, …Docker).
var knownSockets = []string{"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/cri-dockerd.sock"}

// runtimeScript looks at the socket $s. Who listens is in /proc/net/unix: its
// flags have __SO_ACCEPTCON (linux: net/unix/af_unix.c, unix_seq_show). crictl
// asks any runtime; ctr asks containerd alone, and is called only where somebody
// listens: it waits ten seconds for one that does not. The questions end after
// five, and one that does has said nothing: that is no answer either.
//
// kubeadm names /var/run/…, which is /run/… to whoever listens there.
const runtimeScript = `s=%[1]s
r=$(readlink -f "$s") || r=$s
[ ! -S "$s" ] || echo socket
l=
while read -r _ _ _ flags _ _ _ p; do
[ "$flags" != 00010000 ] || case $p in "$s"|"$r"|"/var$r") l=1 ;; esac
done </proc/net/unix
[ -z "$l" ] || echo listens
for o in %[2]s; do [ "$o" = "$s" ] || [ "$o" = "$r" ] || [ ! -S "$o" ] || echo "other $o"; done
case $s in
*containerd*) grep -q 'SystemdCgroup *= *true' /etc/containerd/config.toml 2>/dev/null && echo 'driver systemd' || echo 'driver cgroupfs' ;;
*crio*) d=$(cat /etc/crio/crio.conf /etc/crio/crio.conf.d/* 2>/dev/null | sed -n 's/^ *cgroup_manager *= *"\([a-z]*\)".*/\1/p' | tail -n 1); echo "driver ${d:-systemd}" ;;
esac
[ -n "$l" ] || exit 0
answer() { case $1 in 0) echo answers ;; 124) echo "failed no answer within 5 seconds" ;; *) echo "failed status $1: $(echo "$2" | tail -n 1)" ;; esac; }
if command -v crictl >/dev/null 2>&1; then
e=0; o=$(timeout 5 crictl --runtime-endpoint "unix://$r" version 2>&1) || e=$?
answer $e "$o"
[ $e = 0 ] || exit 0
if o=$(timeout 5 crictl --runtime-endpoint "unix://$r" --image-endpoint "unix://$r" images 2>/dev/null); then echo "$o" | awk 'NR>1{print "image " $1 ":" $2}'; echo images; fi
elif command -v ctr >/dev/null 2>&1 && case $s in *containerd*) : ;; *) false ;; esac; then
e=0; o=$(timeout 5 ctr --address "$r" version 2>&1) || e=$?
answer $e "$o"
[ $e = 0 ] || exit 0
if o=$(timeout 5 ctr --address "$r" -n k8s.io images ls -q 2>/dev/null); then echo "$o" | sed -n 's/^/image /p'; echo images; fi
fi
:`

func readRuntime(ctx context.Context, r remote.Reader, socket string) (runtimeState, error) {
	out, err := r.Look(ctx, remote.Command{Script: fmt.Sprintf(runtimeScript, remote.Quote(kubeadm.SocketPath(socket)), strings.Join(knownSockets, " ")), Waits: true})
	if err != nil {
		return runtimeState{}, fmt.Errorf("looking at the container runtime of %s: %w", r.Name(), err)
	}
	var s runtimeState
	for line := range strings.Lines(out) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "socket":
			s.socket = true
		case "listens":
			s.listens = true
		case "answers":
			s.asked, s.answers = true, "it answers"
		case "failed":
			s.asked, s.failed = true, rest
		case "driver":
			s.driver = rest
		case "other":
			s.others = append(s.others, "unix://"+rest)
		case "image":
			s.images = append(s.images, rest)
		case "images":
			s.imagesAre = true
		}
	}
	return s, nil
}

// runtime wants the runtime that the first node's kubelet uses: the joining
// kubelet is told the same socket, whatever else the host has.
func runtime(ctx context.Context, s Scene) ([]Finding, error) {
	first := s.On(s.First().Name)
	socket, err := kubeadm.CRISocket(ctx, first)
	if err != nil {
		return nil, err
	}
	have, err := readRuntime(ctx, s.On(s.Target()), socket)
	if err != nil {
		return nil, err
	}
	besides := ""
	if len(have.others) > 0 {
		besides = "; there is " + strings.Join(have.others, " and ") + " besides"
	}
	start := "start that runtime on it: `systemctl enable --now " + unitOf(socket) + "`"
	switch {
	case !have.socket:
		return []Finding{block(start, "the kubelet of %s uses %s, which is not there%s", first.Name(), socket, besides)}, nil
	case !have.listens:
		return []Finding{block(start, "nobody listens on %s, which the kubelet of %s uses%s", socket, first.Name(), besides)}, nil
	case have.failed != "":
		return []Finding{block(start, "the container runtime at %s does not answer: %q", socket, have.failed)}, nil
	}
	one, err := readRuntime(ctx, first, socket)
	if err != nil {
		return nil, err
	}
	if one.driver != "" && have.driver != one.driver {
		return []Finding{warn("", "its container runtime is configured for the cgroup driver %s, and that of %s for %s", have.driver, first.Name(), one.driver)}, nil
	}
	answer := have.answers
	if !have.asked {
		answer = "whether it answers was not asked, without crictl"
	}
	return []Finding{fine("it joins with %s, as %s has it: %s%s", socket, first.Name(), answer, besides)}, nil
}

// unitOf is the service behind a socket that kubeadm knows.
func unitOf(socket string) string {
	switch {
	case strings.Contains(socket, "crio"):
		return "crio"
	case strings.Contains(socket, "dockerd"):
		return "cri-docker.socket"
	case strings.Contains(socket, "containerd"):
		return "containerd"
	}
	return "SERVICE"
}

// images wants those that the first node's static pods run.
func images(ctx context.Context, s Scene) ([]Finding, error) {
	first := s.On(s.First().Name)
	socket, err := kubeadm.CRISocket(ctx, first)
	if err != nil {
		return nil, err
	}
	have, err := readRuntime(ctx, s.On(s.Target()), socket)
	if err != nil {
		return nil, err
	}
	if !have.imagesAre {
		return []Finding{warn("install crictl on it, or see that the images can be pulled: `kubeadm config images pull --kubernetes-version VERSION`",
			"its images could not be listed: there is no crictl, or nobody answers at %s", socket)}, nil
	}
	var missing []string
	for _, name := range kubeadmPods[:3] {
		data, err := first.ReadFile(ctx, path.Join(kube.ManifestsDir, name+".yaml"))
		if err != nil {
			return nil, err
		}
		m, err := kube.ParseManifest(data.Data)
		if err != nil {
			return nil, fmt.Errorf("on %s, %s: %w", first.Name(), data.Path, err)
		}
		if !slices.Contains(have.images, m.Image()) {
			missing = append(missing, m.Image())
		}
	}
	if len(missing) > 0 {
		return []Finding{warn("", "its container runtime lacks %s", strings.Join(missing, ", "))}, nil
	}
	return []Finding{fine("it has the images of the control plane")}, nil
}
