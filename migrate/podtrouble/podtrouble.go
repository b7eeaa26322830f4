// Package podtrouble says of a pod that is waited for why it will not get ready
// unless somebody acts.
package podtrouble

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"hamigrate/migrate"

	corev1 "k8s.io/api/core/v1"
)

// fewRestarts is how often a container may end and be started again before it
// counts as one that does not start: the first end may come of a program that
// it talks to and that starts itself.
const fewRestarts = 3

// shortRun is how long a container that does not start runs at most: what ran
// longer has started, and ended of something else.
const shortRun = time.Minute

// lastsFor is how long a trouble that may pass has to be seen: a registry that
// was busy for one pull is asked again after 10 s, then 20 s and 40 s
// (kubernetes: pkg/kubelet/kubelet.go, imageBackOffPeriod).
const lastsFor = 2 * time.Minute

// troubles are the reasons of a waiting container. A pull that failed is
// ErrImagePull, and ImagePullBackOff while the next one is put off (kubernetes:
// pkg/kubelet/images/types.go).
var troubles = map[string]struct {
	why     string
	forGood bool // else it may pass
}{
	"ErrImagePull":               {"its image can't be pulled", false},
	"ImagePullBackOff":           {"its image can't be pulled", false},
	"CreateContainerConfigError": {"it can't be made", false}, // a ConfigMap may be on its way
	"InvalidImageName":           {"its image has no valid name", true},
	"ErrImageNeverPull":          {"its image is not on the node and may not be pulled", true},
}

// Seen remembers what was seen of pods that are waited for. The time is
// counted here and not read from their status: clocks of hosts differ.
type Seen struct {
	mu   sync.Mutex
	seen map[string]sight // by pod and container
}

// sight is how a container was when it was seen first.
type sight struct {
	restarts int32
	since    time.Time // that a trouble was seen without a break; zero: there is none
}

// Of is Reader.PodTrouble.
func (t *Seen) Of(p corev1.Pod) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found error
	for _, c := range append(append([]corev1.ContainerStatus{}, p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...) {
		if err := t.container(p, c); err != nil && found == nil {
			found = err
		}
	}
	return found
}

func (t *Seen) container(p corev1.Pod, c corev1.ContainerStatus) error {
	key := fmt.Sprintf("%s/%s %s %s", p.Namespace, p.Name, p.UID, c.Name)
	first, known := t.seen[key]
	if !known {
		first.restarts = c.RestartCount
	}
	defer func() {
		if t.seen == nil {
			t.seen = map[string]sight{}
		}
		t.seen[key] = first
	}()
	waiting := c.State.Waiting
	if waiting == nil {
		first.since = time.Time{}
		return nil
	}
	where := fmt.Sprintf("container %s of pod %s/%s on %s", c.Name, p.Namespace, p.Name, NodeOf(p))
	if trouble, is := troubles[waiting.Reason]; is {
		if first.since.IsZero() {
			first.since = time.Now()
		}
		if !trouble.forGood && time.Since(first.since) < lastsFor {
			return nil
		}
		return migrate.Hopeless(fmt.Errorf("%s: %s (%s): %q", where, trouble.why, waiting.Reason, waiting.Message))
	}
	first.since = time.Time{}
	// In CrashLoopBackOff the last container has ended. One that was not there
	// when the wait began was started after the change that is waited for.
	end := c.LastTerminationState.Terminated
	if waiting.Reason == "CrashLoopBackOff" && c.RestartCount >= fewRestarts && c.RestartCount > first.restarts &&
		end != nil && end.FinishedAt.Sub(end.StartedAt.Time) < shortRun {
		return migrate.Hopeless(fmt.Errorf("%s does not start: it ended %d times%s", where, c.RestartCount, lastEnd(c)))
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

// NodeOf is the node that a pod runs on or, where it has not been placed
// yet, the one that a DaemonSet means it for (kubernetes: pkg/controller/daemon/
// util/daemonset_util.go, ReplaceDaemonSetPodNodeNameNodeAffinity).
func NodeOf(p corev1.Pod) string {
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
