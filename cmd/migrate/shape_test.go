package main

import (
	"path/filepath"
	"strings"
	"testing"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/playground"
	"hamigrate/migrate/report"
	"hamigrate/phases"
	"hamigrate/phases/migration"

	"github.com/google/go-cmp/cmp"
)

// oldCluster is one as they are after six years: etcd on localhost, audited,
// with flags that only work where something else is.
func oldCluster() realShape {
	return realShape{
		Kubernetes: "v1.33.4", KubeadmAPI: "kubeadm.k8s.io/v1beta4", EtcdClient: "https://127.0.0.1:2379", Workers: 2,
		Flags: kube.ParseFlags(strings.Fields(`kube-apiserver --advertise-address=10.0.0.1 --allow-privileged=true --authorization-mode=Node,RBAC
			--etcd-servers=https://127.0.0.1:2379 --audit-policy-file=/etc/kubernetes/audit/policy.yaml --audit-log-maxage=7
			--max-requests-inflight=800 --enable-admission-plugins=NodeRestriction,PodSecurity --oidc-ca-file=/etc/kubernetes/oidc/ca.crt
			--anonymous-auth=false --secure-port=6443`)),
		Mounts: []kube.HostPath{
			{Path: "/etc/ssl/certs", ReadOnly: true}, {Path: "/etc/kubernetes/pki", ReadOnly: true},
			{Path: "/etc/kubernetes/audit", ReadOnly: true, Type: "Directory"},
			{Path: "/etc/kubernetes/oidc/ca.crt", ReadOnly: true, Type: "File"},
			{Path: "/run/kms.sock", Type: "Socket"}, {Path: "/var/lib/kubelet/plugins"},
		},
	}
}

func likeSpec(change func(*cluster.Spec)) cluster.Spec {
	host := cluster.Host{SSH: cluster.SSH{User: "root"}}
	s := cluster.Spec{Name: "old", LoadBalancer: cluster.LoadBalancer{Kind: cluster.LoadBalancerNginx, Hosts: make([]cluster.Host, 1)},
		Etcd: cluster.Etcd{Hosts: make([]cluster.Host, 3)}, ControlPlane: cluster.ControlPlane{First: host, Joining: make([]cluster.Host, 2)}}
	if change != nil {
		change(&s)
	}
	return s
}

func TestPlaygroundLike(t *testing.T) {
	t.Parallel()
	o, lacks := playgroundLike(oldCluster(), likeSpec(nil))
	want := playground.Options{
		Kubernetes: "1.33.13", EtcdListen: playground.EtcdOnLocalhost, Workers: 2, Hardened: true,
		APIServerArgs:   []playground.Argument{{Name: "max-requests-inflight", Value: "800"}, {Name: "enable-admission-plugins", Value: "NodeRestriction,PodSecurity"}},
		APIServerMounts: []playground.Mount{{Path: "/etc/kubernetes/oidc/ca.crt", ReadOnly: true, File: true}},
	}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Errorf("playground (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"--oidc-ca-file", "--anonymous-auth", "the mount /run/kms.sock", "the mount /var/lib/kubelet/plugins"}, lacks); diff != "" {
		t.Errorf("lacks (-want +got):\n%s", diff)
	}
}

// TestPlaygroundLacks: what a playground can't have is told, never left out in
// silence.
func TestPlaygroundLacks(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		shape func(*realShape)
		spec  func(*cluster.Spec)
		lacks string
		check func(playground.Options) bool
	}{
		"an old Kubernetes":     {shape: func(s *realShape) { s.Kubernetes = "v1.27.9" }, lacks: "Kubernetes 1.27 (it has 1.33)", check: func(o playground.Options) bool { return o.Kubernetes == "1.33.13" }},
		"a Kubernetes to come":  {shape: func(s *realShape) { s.Kubernetes = "v1.99.0" }, lacks: "Kubernetes 1.99 (it has 1.36)", check: func(o playground.Options) bool { return o.Kubernetes == "1.36.3" }},
		"kubeadm's older API":   {shape: func(s *realShape) { s.KubeadmAPI = "kubeadm.k8s.io/v1beta3" }, lacks: "a kubeadm-config in kubeadm.k8s.io/v1beta3"},
		"many workers":          {shape: func(s *realShape) { s.Workers = 40 }, lacks: "40 workers (it has 4)", check: func(o playground.Options) bool { return o.Workers == 4 }},
		"no worker":             {shape: func(s *realShape) { s.Workers = 0 }, check: func(o playground.Options) bool { return o.Workers == -1 }},
		"etcd on the host":      {shape: func(s *realShape) { s.EtcdClient = "https://127.0.0.1:2379,https://10.0.0.1:2379" }, check: func(o playground.Options) bool { return o.EtcdListen == playground.EtcdOnHost }},
		"phase 2 done":          {shape: func(s *realShape) { s.ExternalEtcd, s.EtcdClient = true, "" }, lacks: "an etcd that is external already"},
		"a webhook that judges": {shape: func(s *realShape) { s.Flags = kube.Flags{{Name: "authorization-mode", Value: "Node,RBAC,Webhook"}} }, lacks: "--authorization-mode=Node,RBAC,Webhook"},
		"five members":          {spec: func(s *cluster.Spec) { s.Etcd.Hosts = make([]cluster.Host, 5) }, lacks: "5 etcd hosts (it has 3)"},
		"another's balancer":    {spec: func(s *cluster.Spec) { s.LoadBalancer.Kind, s.LoadBalancer.Hosts = cluster.LoadBalancerExternal, nil }, lacks: "your external load balancer (it has nginx)"},
		"sudo":                  {spec: func(s *cluster.Spec) { s.ControlPlane.First.SSH.User = "ops" }, check: func(o playground.Options) bool { return o.SudoUser == "operator" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shape := oldCluster()
			if tt.shape != nil {
				tt.shape(&shape)
			}
			o, lacks := playgroundLike(shape, likeSpec(tt.spec))
			if tt.lacks != "" && !strings.Contains(strings.Join(lacks, "; "), tt.lacks) {
				t.Errorf("lacks %q, want %q among them", lacks, tt.lacks)
			}
			if tt.check != nil && !tt.check(o) {
				t.Errorf("options %+v", o)
			}
		})
	}
}

func TestRehearsal(t *testing.T) {
	t.Parallel()
	journal := filepath.Join(t.TempDir(), "flagship.journal")
	spec := cluster.Spec{Name: "flagship", Fingerprint: "sha256:1"}
	list := migration.Phases(phases.Overlap)
	none, err := lastRehearsal(journal)
	if err != nil || none != nil {
		t.Fatalf("a rehearsal of nothing: %+v, %v", none, err)
	}
	if text := none.say("--like migrate.yaml", aboutToRun{spec, list, "", "dev"}); !strings.Contains(text, "was not rehearsed: `migrate rehearse --like migrate.yaml`") {
		t.Errorf("without one: %s", text)
	}
	if none.expected("etcd/promote") != 0 {
		t.Error("a time of nothing")
	}
	step := func(id, node, status string, total float64) report.Step {
		return report.Step{ID: id, Node: node, Status: "verified", TotalSeconds: total}
	}
	found := step("etcd/user", "e1", "", 9)
	found.Status = "satisfied"
	r := report.Report{KubernetesVersion: "v1.33.13", Result: "done", Phases: []report.Phase{{Steps: []report.Step{
		step("etcd/promote", "e1", "", 2), step("etcd/promote", "e2", "", 4), found,
	}}}}
	if err := keepRehearsal(journal, newRehearsal(spec, phases.Overlap, list, r, []string{"--oidc-ca-file"}, "dev")); err != nil {
		t.Fatal(err)
	}
	kept, err := lastRehearsal(journal)
	if err != nil {
		t.Fatal(err)
	}
	if got := kept.expected("etcd/promote").Seconds(); got != 3 {
		t.Errorf("promote is expected to take %.1f s, want the mean 3", got)
	}
	if kept.expected("etcd/user") != 0 {
		t.Error("what was found done has an expected time")
	}
	text := kept.say("--like migrate.yaml", aboutToRun{spec, list, "v1.33.4", "dev"})
	if strings.Contains(text, "something else") || !strings.Contains(text, "did not have: --oidc-ca-file") || !strings.HasPrefix(text, "Rehearsed ") {
		t.Errorf("said: %s", text)
	}
	other := spec
	other.Fingerprint = "sha256:2"
	for want, got := range map[string][]string{
		"the spec has changed since":          kept.differs(aboutToRun{other, list, "", "dev"}),
		"phase 2 has other steps now":         kept.differs(aboutToRun{spec, migration.Phases(phases.InPlace), "", "dev"}),
		"the cluster runs Kubernetes v1.34.1": kept.differs(aboutToRun{spec, list, "v1.34.1", "dev"}),
	} {
		if len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("differs by %q, want %q", got, want)
		}
	}
}
