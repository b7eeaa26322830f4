package controlplane

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"hamigrate/migrate"
)

// TestCoreDNSRollOut: a roll-out that is under way is waited for, and only one
// that is over and has put all pods on one node is given up.
func TestCoreDNSRollOut(t *testing.T) {
	t.Parallel()
	two := int32(2)
	for name, tt := range map[string]struct {
		status   appsv1.DeploymentStatus
		wanted   *int32
		on       []string // nodes of the ready pods
		done     bool
		hopeless bool
	}{
		"spread":                             {appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}, &two, []string{"cp1", "cp2"}, true, false},
		"on one node":                        {appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}, &two, []string{"cp1", "cp1"}, false, true},
		"one pod is still to be made":        {appsv1.DeploymentStatus{Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}, &two, []string{"cp1"}, false, false},
		"none is counted yet":                {appsv1.DeploymentStatus{}, &two, nil, false, false},
		"a new one is not available":         {appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 1}, &two, []string{"cp1"}, false, false},
		"an old one is still there":          {appsv1.DeploymentStatus{Replicas: 3, UpdatedReplicas: 2, AvailableReplicas: 3}, &two, []string{"cp1", "cp1", "cp1"}, false, false},
		"one went away after it was counted": {appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}, &two, []string{"cp1"}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: tt.wanted}, Status: tt.status}
			var ready []corev1.Pod
			for _, node := range tt.on {
				ready = append(ready, corev1.Pod{Spec: corev1.PodSpec{NodeName: node}})
			}
			err := rolledOut(d)
			if err == nil {
				err = spreadOut(d, ready)
			}
			if (err == nil) != tt.done || migrate.IsHopeless(err) != tt.hopeless {
				t.Errorf("got %v (hopeless: %t)", err, migrate.IsHopeless(err))
			}
		})
	}
}
