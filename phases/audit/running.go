package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

func coreDNS(_ context.Context, s *scene) (Seen, error) {
	var on []string
	n := 0
	for _, p := range s.pods {
		if p.Namespace == "kube-system" && p.Labels["k8s-app"] == "kube-dns" && p.DeletionTimestamp == nil && kube.PodReady(p) {
			n++
			if !slices.Contains(on, p.Spec.NodeName) {
				on = append(on, p.Spec.NodeName)
			}
		}
	}
	slices.Sort(on)
	if n == 0 {
		return Seen{State: Unknown, Text: "no pod is labelled k8s-app=kube-dns and Ready"}, nil
	}
	return Seen{State: state(len(on)), Where: on, Text: fmt.Sprintf("%d ready pods on %s", n, some(on))}, nil
}

// pinned lists what runs once on a control-plane node. Static pods and those of
// DaemonSets belong to their node.
func pinned(_ context.Context, s *scene) (Seen, error) {
	var where []string
	for _, w := range s.workloads {
		if w.Kind == "DaemonSet" || w.Replicas != 1 || w.Selector == nil {
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(w.Selector)
		if err != nil {
			return Seen{}, fmt.Errorf("reading the selector of %s: %w", w, err)
		}
		for _, p := range s.pods {
			if p.Namespace == w.Namespace && !selector.Empty() && selector.Matches(labels.Set(p.Labels)) && slices.Contains(s.planes, p.Spec.NodeName) {
				where = append(where, fmt.Sprintf("%s on %s%s", w, p.Spec.NodeName, s.tied(w.Pods.Spec)))
				break
			}
		}
	}
	for _, p := range s.pods {
		if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; !mirror && len(p.OwnerReferences) == 0 && slices.Contains(s.planes, p.Spec.NodeName) && !ofControlPlane(p) {
			where = append(where, fmt.Sprintf("Pod %s/%s on %s, which nothing makes again", p.Namespace, p.Name, p.Spec.NodeName))
		}
	}
	slices.Sort(where)
	if len(where) == 0 {
		return Seen{State: Redundant, Text: "none"}, nil
	}
	return Seen{State: Single, Where: where, Remains: where, Text: fmt.Sprintf("%d", len(where))}, nil
}

// ofControlPlane says whether a pod is one of kubeadm's: static, or CoreDNS,
// which is a point of its own.
func ofControlPlane(p corev1.Pod) bool {
	return p.Namespace == "kube-system" && (p.Labels["component"] != "" || p.Labels["k8s-app"] == "kube-dns")
}

// tied says how a pod is bound to its node.
func (s *scene) tied(spec corev1.PodSpec) string {
	if host := spec.NodeSelector[corev1.LabelHostname]; host != "" {
		return ", tied to that host by its nodeSelector"
	}
	if spec.NodeName != "" {
		return ", tied to that host by nodeName"
	}
	for key := range spec.NodeSelector {
		if strings.HasPrefix(key, "node-role.kubernetes.io/control-plane") {
			if len(s.planes) == 1 {
				return ", tied to control-plane nodes, of which there is one: phase 3 gives it others"
			}
			return ", may move to another control-plane node"
		}
	}
	return ""
}

func zones(_ context.Context, s *scene) (Seen, error) {
	var without []string
	in := map[string][]string{}
	for name, n := range s.nodes {
		if zone := n.Labels[corev1.LabelTopologyZone]; zone != "" {
			in[zone] = append(in[zone], name)
		} else {
			without = append(without, name)
		}
	}
	slices.Sort(without)
	planeZones := map[string]bool{}
	for _, p := range s.planes {
		planeZones[s.nodes[p].Labels[corev1.LabelTopologyZone]] = true
	}
	switch {
	case len(without) > 0:
		return Seen{State: Single, Where: without, Remains: without, Text: fmt.Sprintf("%d of %d nodes have no zone: nothing can be spread over zones that nobody knows of", len(without), len(s.nodes))}, nil
	case len(in) < 2:
		return Seen{State: Single, Text: "all nodes are in one zone"}, nil
	case len(s.planes) > 1 && len(planeZones) < 2:
		return Seen{State: Single, Where: s.planes, Remains: s.planes, Text: "all control-plane nodes are in one zone"}, nil
	}
	return Seen{State: Redundant, Text: fmt.Sprintf("%d zones; where etcd hosts and load balancers stand, only you know", len(in))}, nil
}

// resolve counts the addresses that the endpoint's name leads to, as the first
// control-plane node sees it.
func (s *scene) resolve(ctx context.Context) (int, error) {
	out, err := s.On(s.First().Name).Look(ctx, remote.Command{Script: "getent ahostsv4 " + remote.Quote(s.Spec().Endpoint.Host) + " || true"})
	if err != nil {
		return 0, err
	}
	var found []string
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 0 && !slices.Contains(found, words[0]) {
			found = append(found, words[0])
		}
	}
	return len(found), nil
}
