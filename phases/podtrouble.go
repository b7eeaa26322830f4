package phases

import (
	"fmt"
	"strings"

	"hamigrate/migrate"

	corev1 "k8s.io/api/core/v1"
)

// fewRestarts is how often a container may end and be started again before it
// counts as one that does not start: the first end may come of a program that
// it talks to and that starts itself.
const fewRestarts = 3

// lasting are the reasons of a waiting container that no waiting mends. A pull
// that failed once is ErrImagePull; the kubelet calls it ImagePullBackOff when
// it has failed and is put off (kubernetes: pkg/kubelet/images/types.go).
var lasting = map[string]string{
	"ImagePullBackOff":           "its image can't be pulled",
	"InvalidImageName":           "its image has no valid name",
	"ErrImageNeverPull":          "its image is not on the node and may not be pulled",
	"CreateContainerConfigError": "it can't be made",
}

// PodTrouble says why a pod will not get ready unless somebody acts, as an
// error that ends a wait (migrate.Hopeless); nil where it may.
func PodTrouble(p corev1.Pod) error {
	for _, c := range append(append([]corev1.ContainerStatus{}, p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...) {
		waiting := c.State.Waiting
		if waiting == nil {
			continue
		}
		where := fmt.Sprintf("container %s of pod %s/%s on %s", c.Name, p.Namespace, p.Name, NodeOfPod(p))
		if why, is := lasting[waiting.Reason]; is {
			return migrate.Hopeless(fmt.Errorf("%s: %s (%s): %q", where, why, waiting.Reason, waiting.Message))
		}
		if waiting.Reason == "CrashLoopBackOff" && c.RestartCount >= fewRestarts {
			return migrate.Hopeless(fmt.Errorf("%s does not start: it ended %d times%s", where, c.RestartCount, lastEnd(c)))
		}
	}
	return nil
}

// lastEnd is how a container ended last.
func lastEnd(c corev1.ContainerStatus) string {
	t := c.LastTerminationState.Terminated
	if t == nil {
		return ""
	}
	said := strings.TrimSpace(t.Message)
	if said == "" {
		return fmt.Sprintf(", the last time with %d (%s)", t.ExitCode, t.Reason)
	}
	return fmt.Sprintf(", the last time with %d (%s): %q", t.ExitCode, t.Reason, said)
}

// NodeOfPod is the node that a pod runs on or, where it has not been placed
// yet, the one that a DaemonSet means it for (kubernetes: pkg/controller/daemon/
// util/daemonset_util.go, ReplaceDaemonSetPodNodeNameNodeAffinity).
func NodeOfPod(p corev1.Pod) string {
	if p.Spec.NodeName != "" || p.Spec.Affinity == nil || p.Spec.Affinity.NodeAffinity == nil || p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return p.Spec.NodeName
	}
	for _, term := range p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, f := range term.MatchFields {
			if f.Key == "metadata.name" && f.Operator == corev1.NodeSelectorOpIn && len(f.Values) == 1 {
				return f.Values[0]
			}
		}
	}
	return ""
}
