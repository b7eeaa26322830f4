package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestCPULeft(t *testing.T) {
	t.Parallel()
	asking := func(name, cpu string, phase corev1.PodPhase) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name},
			Spec: corev1.PodSpec{NodeName: "cp1", Containers: []corev1.Container{{
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}},
			}}},
			Status: corev1.PodStatus{Phase: phase},
		}
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp1"}}
	node.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")}
	api := fake.NewClientset(node,
		asking("kube-apiserver-cp1", "250m", corev1.PodRunning),
		asking("starting", "100m", corev1.PodPending),
		asking("a-job", "900m", corev1.PodSucceeded),
		asking("evicted", "900m", corev1.PodFailed),
		asking("ours-cp1", "250m", corev1.PodRunning),
	)
	left, err := Reader{api}.CPULeft(t.Context(), "cp1", "ours-cp1")
	if err != nil {
		t.Fatal(err)
	}
	if left.MilliValue() != 2000-250-100 {
		t.Errorf("%d millicores are left", left.MilliValue())
	}
	if _, err := (Reader{api}).CPULeft(t.Context(), "cp9", ""); err == nil {
		t.Error("a node that is not there has room")
	}
}
