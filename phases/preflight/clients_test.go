package preflight_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases/preflight"
	"hamigrate/phases/simulator"
)

// The addresses of some hosts of the world.
const (
	ofCP1, ofW1, ofW2 = "10.88.0.11", "10.88.0.31", "10.88.0.32"
)

// of are the results of one check, with its name.
func of(r preflight.Report, check string) []preflight.Result {
	return slices.DeleteFunc(slices.Clone(r.Results), func(x preflight.Result) bool { return x.Check != check })
}

// TestAPIAddressElsewhere: whoever is told where the API is, by address or by a
// name, in a ConfigMap or in a pod's own settings.
func TestAPIAddressElsewhere(t *testing.T) {
	t.Parallel()
	configMap := func(namespace, name, key, value string) func(*testing.T, *simulator.World) {
		return func(_ *testing.T, w *simulator.World) {
			w.PutConfigMap(namespace, name, map[string]string{key: value})
		}
	}
	daemon := func(c corev1.Container) func(*testing.T, *simulator.World) {
		return func(_ *testing.T, w *simulator.World) { c.Name = "agent"; w.PutDaemonSet("kube-system", "net", c) }
	}
	for name, tt := range map[string]struct {
		arrange func(*testing.T, *simulator.World)
		seen    string // "": nothing is to be said
	}{
		"Calico, by address":              {configMap("tigera-operator", "kubernetes-services-endpoint", "KUBERNETES_SERVICE_HOST", "10.88.0.11"), "ConfigMap tigera-operator/kubernetes-services-endpoint, KUBERNETES_SERVICE_HOST, names 10.88.0.11, which is cp1"},
		"Calico of the manifest, by name": {configMap("kube-system", "kubernetes-services-endpoint", "KUBERNETES_SERVICE_HOST", "cp1"), "ConfigMap kube-system/kubernetes-services-endpoint, KUBERNETES_SERVICE_HOST, names cp1"},
		"Calico, by a name in /etc/hosts": {func(t *testing.T, w *simulator.World) {
			root("cp1", "echo '10.88.0.11 api.example.org' >> /etc/hosts")(t, w)
			configMap("calico-system", "kubernetes-services-endpoint", "KUBERNETES_SERVICE_HOST", "API.example.org")(t, w)
		}, "names API.example.org, which is cp1"},
		"Calico, at another balancer":       {configMap("tigera-operator", "kubernetes-services-endpoint", "KUBERNETES_SERVICE_HOST", "198.51.100.77"), ""},
		"Cilium's own map":                  {configMap("kube-system", "cilium-config", "k8s-api-server-urls", "https://10.88.0.11:6443"), "ConfigMap kube-system/cilium-config, k8s-api-server-urls, names 10.88.0.11"},
		"a kubeconfig, YAML":                {configMap("ci", "deployer", "config", "clusters:\n- cluster:\n    server: https://10.88.0.11:6443\n"), "ConfigMap ci/deployer, config, names 10.88.0.11"},
		"a kubeconfig, JSON":                {configMap("ci", "deployer", "config", `{"clusters":[{"cluster":{"server":"https://10.88.0.11:6443"}}]}`), "ConfigMap ci/deployer, config, names 10.88.0.11"},
		"the address, about something else": {configMap("monitoring", "targets", "list", "10.88.0.11:9100"), ""},
		"a pod's variable":                  {daemon(corev1.Container{Env: []corev1.EnvVar{{Name: "KUBERNETES_SERVICE_HOST", Value: "10.88.0.11"}}}), "DaemonSet kube-system/net, container agent, variable KUBERNETES_SERVICE_HOST, names 10.88.0.11"},
		"a pod's variable, out of a map": {func(t *testing.T, w *simulator.World) {
			configMap("kube-system", "where", "api", "10.88.0.11")(t, w)
			ref := &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "where"}, Key: "api"}}
			daemon(corev1.Container{Env: []corev1.EnvVar{{Name: "KUBERNETES_SERVICE_HOST", ValueFrom: ref}}})(t, w)
		}, "DaemonSet kube-system/net, container agent, variable KUBERNETES_SERVICE_HOST, names 10.88.0.11"},
		"flannel's argument":     {daemon(corev1.Container{Args: []string{"--ip-masq", "--kube-api-url=https://10.88.0.11:6443"}}), "container agent, argument --kube-api-url, names 10.88.0.11"},
		"kube-router's argument": {daemon(corev1.Container{Command: []string{"kube-router", "--master", "https://10.88.0.11:6443"}}), "container agent, argument --master, names 10.88.0.11"},
		"the Service":            {daemon(corev1.Container{Env: []corev1.EnvVar{{Name: "KUBERNETES_SERVICE_HOST", Value: "kubernetes.default.svc"}}}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := look(t, preflight.Options{Phase: 1}, tt.arrange)
			list := of(r, "APIAddressElsewhere")
			if len(list) != 1 {
				t.Fatalf("%d results: %+v", len(list), list)
			}
			seen := tt.seen
			if seen == "" && list[0].Severity != preflight.OK || seen != "" && (list[0].Severity != preflight.Warning || !strings.Contains(list[0].Seen, seen) || !strings.Contains(list[0].Remedy, "after phase 1")) {
				t.Errorf("%+v", list[0])
			}
		})
	}
}

// TestNodeAddresses: name, address and machine of a node are one node's.
func TestNodeAddresses(t *testing.T) {
	t.Parallel()
	ips := func(node string, list ...string) func(*testing.T, *simulator.World) {
		return func(_ *testing.T, w *simulator.World) {
			w.EditNode(node, func(n *corev1.Node) {
				n.Status.Addresses = nil
				for _, ip := range list {
					n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip})
				}
			})
		}
	}
	for name, tt := range map[string]struct {
		arrange  func(*testing.T, *simulator.World)
		host     string
		severity preflight.Severity
		seen     string
	}{
		"well": {nil, "cluster", preflight.OK, "nodes, each with an address of its own"},
		"two Nodes with one InternalIP": {func(t *testing.T, w *simulator.World) {
			ips("w2", ofW1)(t, w)
		}, "w1", preflight.Blocking, "the Nodes w1, w2 have one InternalIP"},
		"the same, and the spec lists them": {func(t *testing.T, w *simulator.World) {
			w.Spec.Workers = []cluster.Host{{Name: "w1", Address: ofW1}, {Name: "w2", Address: ofW2}}
			ips("w2", ofW1)(t, w)
		}, "w1", preflight.Warning, "the spec's addresses are used"},
		"IPv6 first": {func(t *testing.T, w *simulator.World) {
			ips("w1", "2001:db8::1", ofW1)(t, w)
		}, "cluster", preflight.OK, "each with an address of its own"},
		"no InternalIP at all": {func(t *testing.T, w *simulator.World) { ips("w1")(t, w) }, "w1", preflight.Blocking, "the Node w1 has no InternalIP"},
		"the first node was renamed": {func(_ *testing.T, w *simulator.World) { w.RenameNode("cp1", "cp1.example.org") },
			"cp1", preflight.Blocking, "spec.controlPlane.first is cp1, and the cluster has no Node of that name; its address " + ofCP1 + " is that of the Node cp1.example.org"},
		"a worker of the spec was renamed": {func(_ *testing.T, w *simulator.World) {
			w.Spec.Workers = []cluster.Host{{Name: "w1", Address: ofW1}, {Name: "w2", Address: ofW2}}
			w.RenameNode("w2", "worker-2")
		}, "w2", preflight.Blocking, "spec.workers is w2, and the cluster has no Node of that name"},
		"a machine that is gone":               {func(_ *testing.T, w *simulator.World) { w.PutNode("w9", "198.51.100.9", false) }, "w9", preflight.Blocking, "the Node w9 is not Ready"},
		"the joining node's name is another's": {func(_ *testing.T, w *simulator.World) { w.PutNode("cp2", "198.51.100.9", true) }, "cp2", preflight.Blocking, "there is a Node cp2 already, at 198.51.100.9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := look(t, preflight.Options{}, tt.arrange)
			for _, x := range of(r, "NodeAddresses") {
				if x.Host == tt.host && x.Severity == tt.severity && strings.Contains(x.Seen, tt.seen) {
					return
				}
			}
			t.Errorf("%+v", of(r, "NodeAddresses"))
		})
	}
}

// TestPlannedSteps: what the plan blocks blocks here, in the same words, and
// what can't be looked at does.
func TestPlannedSteps(t *testing.T) {
	t.Parallel()
	blocked := migrate.Entry{Phase: 2, Step: "etcd/listen", Title: "Listen", Target: "cp1", Finding: migrate.Finding{Verdict: migrate.Blocked, Reason: "it can't", Remedy: "make it"}}
	needed := migrate.Entry{Phase: 1, Step: "loadbalancer/nginx", Target: "lb1", Finding: migrate.Finding{Verdict: migrate.Needed, Reason: "it is not there"}}
	for name, tt := range map[string]struct {
		plan func(phase int) ([]migrate.Entry, error)
		only int
		want preflight.Result
		// slow: phase 2 takes that long, or is cut.
		slow time.Duration
	}{
		"slow": {plan: func(int) ([]migrate.Entry, error) { return []migrate.Entry{needed}, nil }, slow: 4 * time.Minute,
			want: preflight.Result{Host: "cluster", Severity: preflight.OK, Phases: []int{1, 2, 3}}},
		"too slow": {plan: func(int) ([]migrate.Entry, error) { return []migrate.Entry{needed}, nil }, slow: time.Hour,
			want: preflight.Result{Host: "cluster", Severity: preflight.Warning, Phases: []int{1, 2, 3}, Remedy: "`migrate plan` looks at all of them, for as long as it takes"}},
		"all can be done": {plan: func(int) ([]migrate.Entry, error) { return []migrate.Entry{needed}, nil },
			want: preflight.Result{Host: "cluster", Severity: preflight.OK, Phases: []int{1, 2, 3}}},
		"one is blocked": {plan: func(p int) ([]migrate.Entry, error) {
			return map[int][]migrate.Entry{1: {needed}, 2: {blocked}}[p], nil
		},
			want: preflight.Result{Host: "cp1", Severity: preflight.Blocking, Phases: []int{2}, Remedy: "make it"}},
		"not in the phase asked for": {plan: func(p int) ([]migrate.Entry, error) { return map[int][]migrate.Entry{2: {blocked}}[p], nil }, only: 1,
			want: preflight.Result{Host: "cluster", Severity: preflight.OK, Phases: []int{1}}},
		"one can't be looked at": {plan: func(p int) ([]migrate.Entry, error) {
			if p != 3 {
				return nil, nil
			}
			return nil, &migrate.StepError{Where: migrate.Where{Phase: 3, Step: "controlplane/join", Target: "cp2"}, Op: migrate.OpCheck, Err: errors.New("no such file")}
		}, want: preflight.Result{Host: "cp2", Severity: preflight.Blocking, Phases: []int{3}, Remedy: "fix what the message names; `migrate plan --phase 3` looks again"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := look(t, preflight.Options{Phase: tt.only, Plan: func(ctx context.Context, p int) ([]migrate.Entry, error) {
				if p == 2 {
					select {
					case <-time.After(tt.slow):
					case <-ctx.Done():
						return nil, &migrate.StepError{Where: migrate.Where{Phase: 2, Step: "etcd/listen", Target: "cp1"}, Op: migrate.OpCheck, Err: context.Cause(ctx)}
					}
				}
				return tt.plan(p)
			}}, nil)
			list := of(r, "PlannedSteps")
			if len(list) != 1 || list[0].Host != tt.want.Host || list[0].Severity != tt.want.Severity || !slices.Equal(list[0].Phases, tt.want.Phases) || list[0].Remedy != tt.want.Remedy {
				t.Errorf("%+v", list)
			}
		})
	}
}
