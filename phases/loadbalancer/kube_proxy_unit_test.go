package loadbalancer

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hamigrate/migrate"
	"hamigrate/migrate/podtrouble"
)

func node(ready bool) corev1.Node {
	status := map[bool]corev1.ConditionStatus{true: corev1.ConditionTrue, false: corev1.ConditionFalse}[ready]
	return corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}}}
}

// proxyOn is kube-proxy's pod on a node: with the new annotation or not.
func proxyOn(name string, isNew, ready bool) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-proxy-" + name}, Spec: corev1.PodSpec{NodeName: name}}
	if isNew {
		p.Annotations = map[string]string{endpointAnnotation: "new"}
	}
	if ready {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	return p
}

func waits(p corev1.Pod, reason string, restarts int32) corev1.Pod {
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "kube-proxy", RestartCount: restarts,
		State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "back-off"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 2, Reason: "Error", Message: "unknown flag"}}}}
	return p
}

// meant is a pod that the scheduler has not placed yet.
func meant(name string) corev1.Pod {
	p := proxyOn("", true, false)
	p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{name}}}}}}}}
	return p
}

func TestProxiesNew(t *testing.T) {
	t.Parallel()
	nodes := map[string]corev1.Node{"cp1": node(true), "w1": node(true), "w2": node(false)}
	for name, tt := range map[string]struct {
		wanted   int32
		strategy appsv1.DaemonSetUpdateStrategyType
		pods     []corev1.Pod
		says     string // "": it is rolled out
		hopeless bool
		before   []corev1.Pod // how they were three minutes before
	}{
		"all":                                           {wanted: 2, pods: []corev1.Pod{proxyOn("cp1", true, true), proxyOn("w1", true, true)}},
		"not on cp1, which it does not tolerate":        {wanted: 1, pods: []corev1.Pod{proxyOn("w1", true, true)}},
		"a node that is down keeps its old one":         {wanted: 3, pods: []corev1.Pod{proxyOn("cp1", true, true), proxyOn("w1", true, true), proxyOn("w2", false, false)}},
		"only nodes that are down are to have it":       {wanted: 1, pods: []corev1.Pod{proxyOn("w2", false, false)}},
		"one is old":                                    {wanted: 2, pods: []corev1.Pod{proxyOn("cp1", true, true), proxyOn("w1", false, true)}, says: "1 of 2 Ready nodes have the new one, not yet w1"},
		"one is away, between two pods":                 {wanted: 2, pods: []corev1.Pod{proxyOn("cp1", true, true)}, says: "1 of 2 nodes have one"},
		"one is not placed yet":                         {wanted: 2, pods: []corev1.Pod{proxyOn("cp1", true, true), meant("w1")}, says: "not yet w1"},
		"one can't pull its image":                      {wanted: 2, pods: []corev1.Pod{proxyOn("cp1", true, true), waits(proxyOn("w1", true, false), "ImagePullBackOff", 0)}, says: "its image can't be pulled", hopeless: true, before: []corev1.Pod{waits(proxyOn("w1", true, false), "ErrImagePull", 0)}},
		"one could not pull its image once":             {wanted: 2, pods: []corev1.Pod{proxyOn("cp1", true, true), waits(proxyOn("w1", true, false), "ImagePullBackOff", 0)}, says: "not yet w1"},
		"one has just ended":                            {wanted: 2, pods: []corev1.Pod{proxyOn("cp1", true, true), waits(proxyOn("w1", true, false), "CrashLoopBackOff", 1)}, says: "not yet w1"},
		"one ends again and again":                      {wanted: 2, pods: []corev1.Pod{proxyOn("cp1", true, true), waits(proxyOn("w1", true, false), "CrashLoopBackOff", 3)}, says: `with 2 (Error): "unknown flag"`, hopeless: true, before: []corev1.Pod{waits(proxyOn("w1", true, false), "CrashLoopBackOff", 2)}},
		"one has ended often, before it was waited for": {wanted: 2, pods: []corev1.Pod{proxyOn("cp1", true, true), waits(proxyOn("w1", true, false), "CrashLoopBackOff", 3)}, says: "not yet w1"},
		"an old one that can't start is replaced":       {wanted: 2, pods: []corev1.Pod{proxyOn("cp1", true, true), waits(proxyOn("w1", false, false), "ImagePullBackOff", 0)}, says: "not yet w1"},
		"only a person changes them":                    {wanted: 2, strategy: appsv1.OnDeleteDaemonSetStrategyType, pods: []corev1.Pod{proxyOn("cp1", true, true), proxyOn("w1", false, true)}, says: "w1 keep the old one until somebody deletes the pod there", hopeless: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var troubles podtrouble.Seen
				for _, p := range tt.before {
					if err := troubles.Of(p); err != nil {
						t.Errorf("three minutes before: %v", err)
					}
					time.Sleep(3 * time.Minute)
				}
				ds := &appsv1.DaemonSet{Spec: appsv1.DaemonSetSpec{UpdateStrategy: appsv1.DaemonSetUpdateStrategy{Type: tt.strategy}}, Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: tt.wanted}}
				err := proxiesNew(ds, nodes, tt.pods, "new", troubles.Of)
				if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) || migrate.IsHopeless(err) != tt.hopeless {
					t.Errorf("got %v (hopeless: %t)", err, migrate.IsHopeless(err))
				}
			})
		})
	}
}
