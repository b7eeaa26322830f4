package overlap

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	podresource "k8s.io/component-helpers/resource"
	"sigs.k8s.io/yaml"
)

const (
	// ManifestPath is the temporary API server's static pod manifest.
	ManifestPath = kube.ManifestsDir + "/migrate-apiserver-twin.yaml"
	// Port is where it listens.
	Port = 6444
	// checkName is the ConfigMap in kube-system that a new API server has to
	// write and read before it gets a client.
	checkName = "migrate-overlap-check"

	podName  = "migrate-apiserver-twin"
	portName = "twin-port"
)

// Manifest makes the manifest of a temporary API server from the live one's. It is
// the same program on the same data with these differences, each of which
// would hurt:
//
//   - pod name, labels and the advertise-address annotation: kubeadm expects
//     exactly one pod with component=kube-apiserver on a node
//     (kubeadm: util/apiclient, apiserver endpoints by annotation);
//   - port, probes and port name;
//   - --endpoint-reconciler-type=none: the default one keys its lease on the
//     advertise address, so the temporary one's stop would take the real one
//     out of the kubernetes endpoints (pkg/controlplane/reconcilers/lease.go);
//   - the gates APIServerIdentity and, where it is known,
//     UnknownVersionInteroperabilityProxy off: the identity's name is a hash
//     of the host name, which the two share;
//   - an audit file of its own: two writers rotate each other's away;
//   - no CPU request, but for a node with room: a full node would evict to
//     admit it (kubelet: preemption of static pods), and without one it gets
//     what all others leave, which on a busy node with two processors is
//     nothing while the real API server starts: see mayAsk;
//   - --shutdown-delay-duration=0s and, where the real one has it,
//     --shutdown-send-retry-after=false: apiserver.StopProcess has to know
//     when it says goodbye;
//   - where packets of its clients can't be dropped at that moment (the node has
//     no nft):
//     --goaway-chance=0.02, the most it takes, and --shutdown-delay-duration=15s.
//     When it is signalled, it goes on serving for 15 s, and in that time
//     asks the clients that kept their connections to open new ones, which
//     lead to the real one by then. Those that are still there at the end may
//     be answered 503 (apiserver: filters/waitgroup.go); with 20 busy clients
//     that was some 20 requests each time, and none with these two.
//
// flags override flags of the copy, to try the real one's next arguments.
func Manifest(live []byte, flags map[string]string, on Node) ([]byte, error) {
	var pod corev1.Pod
	if err := yaml.Unmarshal(live, &pod); err != nil {
		return nil, fmt.Errorf("reading the API server's manifest: %w", err)
	}
	if len(pod.Spec.Containers) != 1 {
		return nil, fmt.Errorf("reading the API server's manifest: it has %d containers; this tool copies manifests with one", len(pod.Spec.Containers))
	}
	pod.Name = podName
	pod.Labels = map[string]string{"component": podName}
	pod.Annotations = nil
	pod.Status = corev1.PodStatus{}
	c := &pod.Spec.Containers[0]
	c.Name = podName
	if !on.CPU {
		delete(c.Resources.Requests, corev1.ResourceCPU)
		delete(c.Resources.Limits, corev1.ResourceCPU) // would be taken for a request
	}
	c.Ports = []corev1.ContainerPort{{Name: portName, ContainerPort: Port, Protocol: corev1.ProtocolTCP}}
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p != nil && p.HTTPGet != nil {
			p.HTTPGet.Port = intstr.FromInt32(Port)
		}
	}
	words, err := temporaryFlags(append(slices.Clone(c.Command), c.Args...), flags, on.Drops)
	if err != nil {
		return nil, err
	}
	c.Command, c.Args = words, nil
	out, err := yaml.Marshal(pod)
	if err != nil {
		return nil, fmt.Errorf("writing the second API server's manifest: %w", err)
	}
	return out, nil
}

// Node is what the temporary API server's manifest depends on besides the live one.
type Node struct {
	// CPU: there is room for as much CPU as the real one asks for.
	CPU bool
	// Drops: packets of kept connections can be dropped for a moment.
	Drops bool
}

// makeManifest is Manifest for a node, with a CPU request where there
// is room for it.
func makeManifest(ctx context.Context, v phases.Reader, node string, flags map[string]string) ([]byte, error) {
	live, err := v.On(node).ReadFile(ctx, phases.APIServerManifest)
	if err != nil {
		return nil, err
	}
	cpu, err := mayAsk(ctx, v, node, live.Data)
	if err != nil {
		return nil, err
	}
	drops, err := apiserver.CanDrop(ctx, v.On(node))
	if err != nil {
		return nil, err
	}
	manifest, err := Manifest(live.Data, flags, Node{CPU: cpu, Drops: drops})
	if err != nil {
		return nil, fmt.Errorf("on %s: %w", node, err)
	}
	return manifest, nil
}

// mayAsk says whether the temporary API server may ask for as much CPU as the
// real API server does. The kubelet evicts others to admit a static pod that
// does not fit, so there has to be twice the room: somebody else may come in
// between.
func mayAsk(ctx context.Context, v phases.Reader, node string, live []byte) (bool, error) {
	var pod corev1.Pod
	if err := yaml.Unmarshal(live, &pod); err != nil {
		return false, fmt.Errorf("reading the API server's manifest: %w", err)
	}
	k, err := v.Kube(ctx)
	if err != nil {
		return false, err
	}
	left, err := k.CPULeft(ctx, node, podName+"-"+node)
	if err != nil {
		return false, err
	}
	asked := podresource.PodRequests(&pod, podresource.PodResourcesOptions{})
	return left.MilliValue() >= 2*asked.Cpu().MilliValue(), nil
}

func temporaryFlags(words []string, override map[string]string, drops bool) ([]string, error) {
	if len(words) == 0 || strings.HasPrefix(words[0], "-") {
		return nil, fmt.Errorf("reading the API server's manifest: its command does not begin with a program")
	}
	live := kube.ParseFlags(words)
	set := map[string]string{
		"secure-port":              strconv.Itoa(Port),
		"endpoint-reconciler-type": "none",
		"shutdown-delay-duration":  "0s",
	}
	if !drops {
		set["shutdown-delay-duration"], set["goaway-chance"] = "15s", "0.02"
	} else if _, has := live.Get("shutdown-send-retry-after"); has {
		set["shutdown-send-retry-after"] = "false"
	}
	var gates []string // given several times they add up
	for _, f := range live {
		if f.Name == "feature-gates" {
			gates = append(gates, f.Value)
		}
	}
	set["feature-gates"] = mergeGates(strings.Join(gates, ","), "APIServerIdentity=false", "UnknownVersionInteroperabilityProxy=false")
	if audit, ok := live.Get("audit-log-path"); ok && audit != "-" {
		set["audit-log-path"] = path.Join(path.Dir(audit), "migrate-twin-"+path.Base(audit))
	}
	for name, value := range override {
		set[name] = value
	}
	out := []string{words[0]}
	for _, f := range live {
		if _, replaced := set[f.Name]; !replaced {
			out = append(out, "--"+f.Name+"="+f.Value)
		}
	}
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		out = append(out, "--"+name+"="+set[name])
	}
	return out, nil
}

// mergeGates sets gates in a --feature-gates value and keeps the others.
func mergeGates(have string, set ...string) string {
	var out []string
	for g := range strings.SplitSeq(have, ",") {
		name, _, _ := strings.Cut(g, "=")
		if g != "" && !slices.ContainsFunc(set, func(s string) bool { return strings.HasPrefix(s, name+"=") }) {
			out = append(out, g)
		}
	}
	return strings.Join(append(out, set...), ",")
}
