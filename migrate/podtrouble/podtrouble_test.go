package podtrouble

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hamigrate/migrate"
)

// waiting is a pod whose container waits; its last run took ran.
func waiting(reason string, restarts int32, ran time.Duration) corev1.Pod {
	c := corev1.ContainerStatus{Name: "main", RestartCount: restarts}
	if reason != "" {
		c.State.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: "said"}
	}
	if ran > 0 {
		end := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC) // a host with a clock of its own
		c.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 2, Reason: "Error", StartedAt: metav1.NewTime(end.Add(-ran)), FinishedAt: metav1.NewTime(end)}
	}
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", UID: "1"}, Spec: corev1.PodSpec{NodeName: "w1"}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{c}}}
}

// TestPodTrouble: a wait ends early where nothing but a person mends the pod,
// and for nothing that may pass or that was so before.
func TestPodTrouble(t *testing.T) {
	t.Parallel()
	const short, long = time.Second, 5 * time.Minute
	for name, tt := range map[string]struct {
		minutes []corev1.Pod // as it was seen, a minute apart
		says    string       // at the last; "": it may get ready
	}{
		"a pull that failed":                     {[]corev1.Pod{waiting("ErrImagePull", 0, 0)}, ""},
		"one that fails for a minute":            {[]corev1.Pod{waiting("ErrImagePull", 0, 0), waiting("ImagePullBackOff", 0, 0)}, ""},
		"one that fails for two":                 {[]corev1.Pod{waiting("ErrImagePull", 0, 0), waiting("ImagePullBackOff", 0, 0), waiting("ErrImagePull", 0, 0)}, "its image can't be pulled"},
		"one that worked between":                {[]corev1.Pod{waiting("ErrImagePull", 0, 0), waiting("", 0, 0), waiting("ErrImagePull", 0, 0)}, ""},
		"a registry that is slow":                {[]corev1.Pod{waiting("ContainerCreating", 0, 0), waiting("ContainerCreating", 0, 0), waiting("ContainerCreating", 0, 0), waiting("ErrImagePull", 0, 0)}, ""},
		"a ConfigMap that is to come":            {[]corev1.Pod{waiting("CreateContainerConfigError", 0, 0)}, ""},
		"a ConfigMap that does not come":         {[]corev1.Pod{waiting("CreateContainerConfigError", 0, 0), waiting("CreateContainerConfigError", 0, 0), waiting("CreateContainerConfigError", 0, 0)}, "it can't be made"},
		"no name of an image":                    {[]corev1.Pod{waiting("InvalidImageName", 0, 0)}, "no valid name"},
		"an image that is not there":             {[]corev1.Pod{waiting("ErrImageNeverPull", 0, 0)}, "may not be pulled"},
		"ends that were before":                  {[]corev1.Pod{waiting("CrashLoopBackOff", 9, short)}, ""},
		"ends that were before, seen twice":      {[]corev1.Pod{waiting("CrashLoopBackOff", 9, short), waiting("CrashLoopBackOff", 9, short)}, ""},
		"another one since":                      {[]corev1.Pod{waiting("CrashLoopBackOff", 9, short), waiting("CrashLoopBackOff", 10, short)}, "does not start: it ended 10 times"},
		"another one since, of one that worked":  {[]corev1.Pod{waiting("CrashLoopBackOff", 9, short), waiting("CrashLoopBackOff", 10, long)}, ""},
		"a new one that ends for the first time": {[]corev1.Pod{waiting("ContainerCreating", 0, 0), waiting("CrashLoopBackOff", 1, short)}, ""},
		"a new one that ends again and again":    {[]corev1.Pod{waiting("ContainerCreating", 0, 0), waiting("CrashLoopBackOff", 3, short)}, "does not start: it ended 3 times"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var seen Seen
				var err error
				for i, p := range tt.minutes {
					if i > 0 {
						time.Sleep(time.Minute)
					}
					err = seen.Of(p)
				}
				if (err == nil) != (tt.says == "") || err != nil && (!strings.Contains(err.Error(), tt.says) || !migrate.IsHopeless(err)) {
					t.Errorf("got %v, want %q", err, tt.says)
				}
			})
		})
	}
}
