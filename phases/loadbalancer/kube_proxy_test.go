package loadbalancer_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/loadbalancer"
)

// proxyState is what the ConfigMap names, and what the step's check says.
func proxyState(s conformance.Stage) (server string, f migrate.Finding) {
	s.T.Helper()
	env := s.Connect()
	defer env.Close()
	k, err := env.Reader(migrate.ClusterTarget).Kube(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	if cm, err := k.ConfigMap(s.Context(), "kube-system", "kube-proxy"); err == nil {
		for line := range strings.Lines(cm.Data["kubeconfig.conf"]) {
			if _, url, ok := strings.Cut(line, "server: "); ok {
				server = strings.TrimSpace(url)
			}
		}
	}
	f, err = conformance.StepOf(conformance.AllPhases(phases.Overlap)[0], "loadbalancer/kube-proxy").Check(s.Context(), env.Reader(migrate.ClusterTarget))
	if err != nil {
		s.Fatal(err)
	}
	return server, f
}

// TestKubeProxyThatNobodyRuns: the ConfigMap is changed, it is said that nobody
// runs it, nothing is waited for, and the way back has what was there.
func TestKubeProxyThatNobodyRuns(t *testing.T) {
	for name, tt := range map[string]struct {
		arrange func(conformance.Stage)
		says    string
		changed bool // the ConfigMap is there to be changed
	}{
		"a nodeSelector that no node fulfils": {func(s conformance.Stage) {
			s.EditKubeProxy(func(ds *appsv1.DaemonSet) {
				ds.Spec.Template.Spec.NodeSelector = map[string]string{"non-calico": "true"}
			})
		}, "no node runs it: its DaemonSet wants no pod", true},
		"the same, and its pods are only changed by hand": {func(s conformance.Stage) {
			s.EditKubeProxy(func(ds *appsv1.DaemonSet) {
				ds.Spec.Template.Spec.NodeSelector = map[string]string{"non-calico": "true"}
				ds.Spec.UpdateStrategy.Type = appsv1.OnDeleteDaemonSetStrategyType
			})
		}, "no node runs it: its DaemonSet wants no pod", true},
		"the DaemonSet was deleted": {func(s conformance.Stage) { s.Remove("daemonsets", "kube-system", "kube-proxy") }, "no node runs it: there is no DaemonSet kube-proxy", true},
		"kubeadm init without the add-on": {func(s conformance.Stage) {
			s.Remove("daemonsets", "kube-system", "kube-proxy")
			s.Remove("configmaps", "kube-system", "kube-proxy")
		}, "this cluster has no kube-proxy", false},
		"a DaemonSet without kubeadm's map": {func(s conformance.Stage) { s.Remove("configmaps", "kube-system", "kube-proxy") }, "not set up by a kubeconfig in ConfigMap", false},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.On(t, 0, phases.Overlap, func(s conformance.Stage) {
				tt.arrange(s)
				before, f := proxyState(s)
				if !strings.Contains(f.Reason, tt.says) || (f.Verdict == migrate.Needed) != tt.changed {
					s.Errorf("before: %+v", f)
				}
				began := time.Now()
				if err := s.Phase(1, phases.Overlap); err != nil {
					s.Fatal(err)
				}
				if took := time.Since(began); took > 3*time.Minute {
					s.Errorf("phase 1 took %s", took)
				}
				after, f := proxyState(s)
				if f.Verdict != migrate.Satisfied || !strings.Contains(f.Reason, tt.says) || tt.changed && (after == before || after == "") {
					s.Errorf("then: %s, %+v", after, f)
				}
				err := loadbalancer.VerifyKubeProxy(s.Context(), s.Env.Reader(migrate.ClusterTarget))
				other := strings.Contains(tt.says, "not set up")
				if errors.Is(err, loadbalancer.ErrOtherKubeProxy) != other || apierrors.IsNotFound(err) == (tt.changed || other) {
					s.Errorf("verified: %v", err)
				}
				if err := s.Rollback(s.Context(), conformance.AllPhases(phases.Overlap)[0]); err != nil {
					s.Fatal(err)
				}
				if back, _ := proxyState(s); back != before {
					s.Errorf("afterwards it names %s, before %s", back, before)
				}
			})
		})
	}
}

// TestKubeProxyThatIsNotOnEveryNode: those that are to have one get a new one.
func TestKubeProxyThatIsNotOnEveryNode(t *testing.T) {
	conformance.On(t, 0, phases.Overlap, func(s conformance.Stage) {
		for _, w := range []string{"w1", "w2"} {
			s.EditNode(w, func(n *corev1.Node) { n.Labels = map[string]string{"proxied": "yes"} })
		}
		s.EditKubeProxy(func(ds *appsv1.DaemonSet) { ds.Spec.Template.Spec.NodeSelector = map[string]string{"proxied": "yes"} })
		if err := s.Phase(1, phases.Overlap); err != nil {
			s.Fatal(err)
		}
		if _, f := proxyState(s); f.Verdict != migrate.Satisfied || !strings.HasPrefix(f.Reason, "kube-proxy uses ") {
			s.Errorf("%+v", f)
		}
	})
}

// TestKubeProxyWhosePodsStay: one sentence before any change.
func TestKubeProxyWhosePodsStay(t *testing.T) {
	conformance.On(t, 0, phases.Overlap, func(s conformance.Stage) {
		s.EditKubeProxy(func(ds *appsv1.DaemonSet) { ds.Spec.UpdateStrategy.Type = appsv1.OnDeleteDaemonSetStrategyType })
		if _, f := proxyState(s); f.Verdict != migrate.Blocked || !strings.Contains(f.Remedy, "kubectl -n kube-system patch ds kube-proxy") {
			s.Errorf("%+v", f)
		}
	})
}
