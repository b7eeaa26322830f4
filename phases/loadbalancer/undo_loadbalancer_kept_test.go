package loadbalancer_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
)

// TestAWorkerWithoutARecord: it joined after phase 1, and is moved before the
// load balancer stops to answer.
func TestAWorkerWithoutARecord(t *testing.T) {
	conformance.On(t, 0, phases.Overlap, func(s conformance.Stage) {
		start := takenBackState(s.World)
		if err := s.Phase(1, phases.Overlap); err != nil {
			s.Fatal(err)
		}
		for _, w := range waysBack(s.Operator, s.T) {
			if w.step.ID == "loadbalancer/kubelet" && w.target == "w2" {
				continue
			}
			if err := w.undo(s.Context(), s.Env); err != nil {
				s.Fatal(err)
			}
		}
		s.Pass(time.Minute)
		if now := takenBackState(s.World); !maps.Equal(start, now) {
			s.Errorf("not all is as it was:\n%s", cmp.Diff(start, now))
		}
	})
}

// TestTheLoadBalancerStaysWhileItIsNamed: what still leads clients to the
// endpoint is named, and nothing is changed.
func TestTheLoadBalancerStaysWhileItIsNamed(t *testing.T) {
	conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
		ops := len(s.Faults.Ops())
		for _, w := range waysBack(s.Operator, s.T) {
			if w.step.ID != "loadbalancer/nginx-stream" {
				continue
			}
			err := w.undo(s.Context(), s.Env)
			for _, word := range []string{"/etc/kubernetes/admin.conf", "super-admin.conf", "cluster-info", "kube-proxy", "https://10.88.0.11:6443", w.target} {
				if err == nil || !strings.Contains(err.Error(), word) {
					s.Errorf("%q is not in: %v", word, err)
				}
			}
		}
		if now := s.Faults.Ops(); len(now) != ops {
			s.Errorf("it made changes: %q", now[ops:])
		}
	})
}

// TestKubeadmUpgradedBetween: what somebody else has written into
// kubeadm-config since stays.
func TestKubeadmUpgradedBetween(t *testing.T) {
	conformance.On(t, 1, phases.Overlap, func(s conformance.Stage) {
		k, err := s.Env.Writer("cluster").Kube(s.Context())
		if err != nil {
			s.Fatal(err)
		}
		err = k.EditConfigMap(s.Context(), "kube-system", "kubeadm-config", func(data map[string]string) error {
			data["ClusterConfiguration"] = strings.Replace(data["ClusterConfiguration"], "v1.36.3", "v1.36.4", 1)
			return nil
		})
		if err != nil {
			s.Fatal(err)
		}
		for _, w := range waysBack(s.Operator, s.T) {
			if w.step.ID != "loadbalancer/kubeadm-config" {
				continue
			}
			if err := w.undo(s.Context(), s.Env); err != nil {
				s.Fatal(err)
			}
		}
		config := s.State()["object configmaps kube-system/kubeadm-config"]
		if strings.Contains(config, "controlPlaneEndpoint") || !strings.Contains(config, "v1.36.4") {
			s.Errorf("kubeadm-config is\n%s", config)
		}
	})
}

// TestAnNginxThatWasStopped is stopped again, its nginx.conf without our line
// and with its own end of lines.
func TestAnNginxThatWasStopped(t *testing.T) {
	conf := "load_module modules/ngx_stream_module.so;\nevents {\n worker_connections 900;\n}\nhttp {\n}\n\n\n"
	conformance.On(t, 0, phases.Overlap, func(s conformance.Stage) {
		s.Script("lb2", "systemctl disable nginx; systemctl stop nginx; rm -f /etc/nginx/modules-enabled/50-mod-stream.conf; printf '"+strings.ReplaceAll(conf, "\n", `\n`)+"' > /etc/nginx/nginx.conf")
		start := takenBackState(s.World)
		if err := s.Phase(1, phases.Overlap); err != nil {
			s.Fatal(err)
		}
		if now := s.State()["lb2 /etc/nginx/nginx.conf"]; !strings.Contains(now, "/etc/nginx/migrate.d/") {
			s.Fatalf("nginx.conf is\n%s", now)
		}
		for _, w := range waysBack(s.Operator, s.T) {
			if err := w.undo(s.Context(), s.Env); err != nil {
				s.Fatal(err)
			}
		}
		s.Pass(time.Minute)
		now := takenBackState(s.World)
		for name := range start {
			if name == "lb2 nginx" { // what a stopped one last had loaded
				continue
			}
			if start[name] != now[name] {
				s.Errorf("%s: %s", name, cmp.Diff(start[name], now[name]))
			}
		}
	})
}

// TestFewerClientsThanOnceDoNotHideTheStep: worker_connections are as an
// earlier run has found them too few.
func TestFewerClientsThanOnceDoNotHideTheStep(t *testing.T) {
	conformance.On(t, 0, phases.Overlap, func(s conformance.Stage) {
		const dir = "/var/lib/migrate/backup/loadbalancer-worker-connections/etc/nginx"
		s.Script("lb2", "sed 's/ 768;/ 900;/' /etc/nginx/nginx.conf > /x; mv /x /etc/nginx/nginx.conf")
		step := conformance.StepOf(conformance.AllPhases(phases.Overlap)[0], "loadbalancer/worker-connections")
		for _, want := range []migrate.Verdict{migrate.Satisfied, migrate.Needed} {
			f, err := step.Check(s.Context(), s.Env.Reader("lb2"))
			if err != nil || f.Verdict != want {
				s.Errorf("it is %s: %s (%v), wanted %s", f.Verdict, f.Reason, err, want)
			}
			s.Script("lb2", "mkdir -p "+dir+"; cp -p /etc/nginx/nginx.conf "+dir+"/nginx.conf")
		}
		if err := step.Apply(s.Context(), s.Env.Writer("lb2"), nil); err != nil {
			s.Fatal(err)
		}
		if f, err := step.Check(s.Context(), s.Env.Reader("lb2")); err != nil || f.Verdict != migrate.Satisfied {
			s.Errorf("applied, it is %s: %s (%v)", f.Verdict, f.Reason, err)
		}
	})
}
