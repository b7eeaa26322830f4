// Half of the time of these tests would be spent on the handshakes of a key
// exchange that they say nothing about.
//go:debug tlsmlkem=0

package controlplane_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate/kube"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/simulator"
)

const (
	apiServerFile  = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	controllerFile = "/etc/kubernetes/manifests/kube-controller-manager.yaml"
	schedulerFile  = "/etc/kubernetes/manifests/kube-scheduler.yaml"
)

// edit changes a file of cp1, as a person does, and waits for the kubelet.
// restore puts the text of before back.
func edit(s conformance.Stage, file, from, to string) (restore func()) {
	s.T.Helper()
	f, err := s.Machine("cp1").ReadFile(s.Context(), file)
	if err != nil || !strings.Contains(string(f.Data), from) {
		s.Fatalf("%s has no %q: %v", file, from, err)
	}
	write := func(text string) {
		s.Script("cp1", "cat >"+file+" <<'EOF'\n"+text+"EOF\n")
		s.Pass(time.Minute)
	}
	write(strings.Replace(string(f.Data), from, to, 1))
	return func() { write(string(f.Data)) }
}

func configText(s conformance.Stage) string {
	return s.State()["object configmaps kube-system/kubeadm-config"]
}

func ahead(s conformance.Stage) controlplane.Outlook {
	s.T.Helper()
	o, err := controlplane.LookAhead(s.Context(), s.Env.Reader("cluster"))
	if err != nil {
		s.Fatal(err)
	}
	return o
}

// TestWhatWasEditedByHandIsOnEveryNode: flags, a variable and a mount that are
// only in cp1's manifests come to the joined nodes by way of kubeadm-config,
// which is byte for byte what it was when the phase is undone
// (kubernetes/kubeadm#929).
func TestWhatWasEditedByHandIsOnEveryNode(t *testing.T) {
	conformance.On(t, 2, phases.InPlace, func(s conformance.Stage) {
		edit(s, apiServerFile, "    - --allow-privileged=true\n", "    - --allow-privileged=true\n    - --profiling=false\n    - --max-requests-inflight=400\n    - --max-requests-inflight=800\n")
		edit(s, apiServerFile, "    image: ", "    env:\n    - name: TZ\n      value: UTC\n    image: ")
		edit(s, apiServerFile, "    volumeMounts:\n", "    volumeMounts:\n    - mountPath: /etc/oidc\n      name: oidc\n      readOnly: true\n")
		edit(s, apiServerFile, "  volumes:\n", "  volumes:\n  - hostPath:\n      path: /etc/kubernetes/oidc\n      type: DirectoryOrCreate\n    name: oidc\n")
		edit(s, controllerFile, "--bind-address=127.0.0.1", "--bind-address=0.0.0.0")
		edit(s, schedulerFile, "--bind-address=127.0.0.1", "--bind-address=0.0.0.0")
		s.Script("cp1", "mkdir -p /etc/kubernetes/oidc")
		before := configText(s)
		if err := s.Phase(3, phases.InPlace); err != nil {
			s.Fatal(err)
		}
		for _, node := range []string{"cp2", "cp3"} {
			for _, flag := range []string{"--profiling=false", "--max-requests-inflight=400 --max-requests-inflight=800", "--bind-address=0.0.0.0"} {
				if runs := s.State()[node+" runs"]; !strings.Contains(runs, flag) {
					s.Errorf("%s lacks %s: %s", node, flag, runs)
				}
			}
		}
		if err := s.Rollback(s.Context(), controlplane.Phase()); err != nil {
			s.Fatal(err)
		}
		if after := configText(s); after != before {
			s.Errorf("kubeadm-config was\n%s\nand is\n%s", before, after)
		}
	})
}

// TestJoinsThatWouldDifferAreNotBegun: each of these is known before the first
// join, with a remedy.
func TestJoinsThatWouldDifferAreNotBegun(t *testing.T) {
	conformance.On(t, 2, phases.InPlace, func(s conformance.Stage) {
		for _, tt := range []struct {
			file, from, to string
			words          []string
		}{
			{apiServerFile, "  hostNetwork: true\n", "  - image: kms:1\n    name: kms\n  hostNetwork: true\n", []string{"spec.containers[kms]", "no place for it"}},
			{apiServerFile, "  hostNetwork: true\n", "  - image: kms:1\n    name: kms\n    args: [--token, opensesame]\n  hostNetwork: true\n", []string{"spec.containers[kms].args[1]", "no place for it", "(not shown)"}},
			{apiServerFile, "    image: ", "    resources: {limits: {memory: 2Gi}}\n    image: ", []string{"limits.memory", "2Gi"}},
			{apiServerFile, "  labels:\n", "  annotations: {prometheus.io/scrape: \"true\"}\n  labels:\n", []string{"prometheus.io/scrape"}},
			{apiServerFile, "    image: ", "    env: [{name: HTTPS_PROXY, value: \"http://ines:opensesame@proxy:3128\"}]\n    image: ", []string{"HTTPS_PROXY", "secret"}},
			{apiServerFile, "    image: ", "    env: [{name: VAULT_SECRET_ID, value: opensesame}, {name: KMS_KEY, value: /opensesame}]\n    image: ", []string{"variable KMS_KEY", "VAULT_SECRET_ID", "may be one"}},
			{apiServerFile, "    - --audit-policy-file=/etc/kubernetes/audit/policy.yaml\n", "", []string{"--audit-policy-file", "runs without it"}},
			{apiServerFile, "    - --enable-bootstrap-token-auth=true\n", "", []string{"--enable-bootstrap-token-auth", "kubeadm gives"}},
			{apiServerFile, "    - --allow-privileged=true\n", "    - --allow-privileged=true\n    - --bind-address=10.88.0.11\n", []string{"--bind-address", "cp1's own value"}},
			{controllerFile, "--leader-elect=true", "--leader-elect=false", []string{"leader election off", "kube-controller-manager"}},
			{schedulerFile, "--leader-elect=true", "--leader-elect=False", []string{"leader election off", "kube-scheduler"}},
		} {
			restore := edit(s, tt.file, tt.from, tt.to)
			before := configText(s)
			s.Blocked(3, tt.words...)
			said := map[string]bool{}
			for _, o := range append(ahead(s).Obstacles, ahead(s).Shared...) {
				if said[o.Node+o.Seen] {
					s.Errorf("it is told twice: %+v", o)
				}
				said[o.Node+o.Seen] = true
				if strings.Contains(o.Seen+o.Remedy, "opensesame") || o.Remedy == "" {
					s.Errorf("a secret is shown, or there is no remedy: %+v", o)
				}
			}
			if after := configText(s); after != before {
				s.Errorf("kubeadm-config was changed: %s", after)
			}
			restore()
		}
		if o := ahead(s); len(o.Obstacles)+len(o.Shared)+len(o.Edits) > 0 {
			s.Errorf("all is as it was, and yet: %+v", o)
		}
	})
}

// TestPatchesOfTheRemedyLetJoinsBegin: the remedy's own command, done on the
// joining nodes, takes the obstacle away.
func TestPatchesOfTheRemedyLetJoinsBegin(t *testing.T) {
	conformance.On(t, 2, phases.InPlace, func(s conformance.Stage) {
		edit(s, apiServerFile, "    image: ", "    resources: {limits: {memory: 2Gi}}\n    image: ")
		edit(s, apiServerFile, "    - --allow-privileged=true\n", "    - --allow-privileged=true\n    - --bind-address=10.88.0.11\n")
		found := ahead(s).Obstacles
		if len(found) != 2 || found[0].Node != "cp2" || found[1].Node != "cp3" {
			s.Fatalf("%+v", found)
		}
		for _, o := range found {
			_, command, _ := strings.Cut(o.Remedy, "`")
			s.Script(o.Node, strings.TrimSuffix(command, "`"))
		}
		if err := s.Phase(3, phases.InPlace); err != nil {
			s.Fatal(err)
		}
		for node, address := range map[string]string{"cp2": "10.88.0.12", "cp3": "10.88.0.13"} {
			if runs := s.State()[node+" runs"]; !strings.Contains(runs, "--bind-address="+address) {
				s.Errorf("%s runs %s", node, runs)
			}
		}
	})
}

// TestAVariableThatMayBeASecretComesByHand: its value is in no message and not
// in kubeadm-config, and a patch that holds it is for root alone.
func TestAVariableThatMayBeASecretComesByHand(t *testing.T) {
	conformance.On(t, 2, phases.InPlace, func(s conformance.Stage) {
		edit(s, apiServerFile, "    image: ", "    env: [{name: AWS_SECRET_ACCESS_KEY, value: /opensesame+}, {name: GOMEMLIMIT, value: 2GiB}, {name: KMS_AT, value: \"tcp://10.88.0.11/opensesame\"}]\n    image: ")
		o := ahead(s)
		if len(o.Obstacles) != 2 || len(o.Edits) != 1 {
			s.Fatalf("%+v", o)
		}
		for _, o := range o.Obstacles {
			if strings.Contains(o.Seen+o.Remedy, "opensesame") || strings.Contains(o.Seen, "GOMEMLIMIT") {
				s.Errorf("%+v", o)
			}
			_, command, _ := strings.Cut(o.Remedy, "`")
			command, _, _ = strings.Cut(command, "`")
			if !strings.Contains(o.Remedy, "the address or the name of cp1, those of "+o.Node) {
				s.Errorf("%s", o.Remedy)
			}
			command = strings.Replace(command, `"KMS_AT","value":"AS-ON-THE-FIRST-NODE"`, `"KMS_AT","value":"tcp://`+map[string]string{"cp2": "10.88.0.12", "cp3": "10.88.0.13"}[o.Node]+`/opensesame"`, 1)
			s.Script(o.Node, strings.ReplaceAll(command, "AS-ON-THE-FIRST-NODE", "/opensesame+"))
			s.Script(o.Node, "stat -c %a /etc/kubernetes/patches/kube-apiserver-as-first-1+strategic.json | grep -qx 600")
		}
		if err := s.Phase(3, phases.InPlace); err != nil {
			s.Fatal(err)
		}
		if text := configText(s); strings.Contains(text, "opensesame") || !strings.Contains(text, "GOMEMLIMIT") {
			s.Errorf("kubeadm-config is %s", text)
		}
		for _, node := range []string{"cp2", "cp3"} {
			if text := s.State()[node+" "+apiServerFile]; !strings.Contains(text, "/opensesame+") || !strings.Contains(text, "2GiB") {
				s.Errorf("%s has %s", node, text)
			}
		}
	})
}

// TestNoProxyIsTheSameOnAllNodes: that it lists them keeps no join from being
// begun, and where kubeadm-config has no place for it, the remedy's patch helps.
func TestNoProxyIsTheSameOnAllNodes(t *testing.T) {
	const list = "10.88.0.11,10.88.0.12,10.88.0.13,.internal"
	for name, config := range map[string]func(string) string{"v1beta4": func(text string) string { return text }, "v1beta3": asV1beta3} {
		t.Run(name, func(t *testing.T) {
			conformance.On(t, 2, phases.InPlace, func(s conformance.Stage) {
				edit(s, apiServerFile, "    image: ", "    env: [{name: HTTPS_PROXY, value: \"http://proxy.internal:3128\"}, {name: NO_PROXY, value: \""+list+"\"}]\n    image: ")
				if o := ahead(s); name == "v1beta4" && len(o.Obstacles) > 0 || name == "v1beta3" && len(o.Obstacles) != 2 {
					s.Errorf("%+v", o.Obstacles)
				}
				for _, o := range ahead(s).Obstacles {
					_, command, _ := strings.Cut(o.Remedy, "`")
					s.Script(o.Node, strings.TrimSuffix(command, "`"))
				}
				if err := s.Phase(3, phases.InPlace); err != nil {
					s.Fatal(err)
				}
				for _, node := range []string{"cp2", "cp3"} {
					if text := s.State()[node+" "+apiServerFile]; !strings.Contains(text, list) {
						s.Errorf("%s has %s", node, text)
					}
				}
			}, simulator.KubeadmConfig(config))
		})
	}
}

// TestSchedulersFileDecides where there is no flag.
func TestSchedulersFileDecides(t *testing.T) {
	conformance.On(t, 0, phases.InPlace, func(s conformance.Stage) {
		s.Script("cp1", "echo 'leaderElection: {leaderElect: false}' >/etc/kubernetes/scheduler-config.yaml")
		edit(s, schedulerFile, "    - --leader-elect=true\n", "    - --leader-elect=true\n    - --config=/etc/kubernetes/scheduler-config.yaml\n")
		if o := ahead(s); len(o.Shared) > 0 {
			s.Errorf("the flag decides: %+v", o.Shared)
		}
		edit(s, schedulerFile, "    - --leader-elect=true\n", "")
		if o := ahead(s); len(o.Shared) != 1 || !strings.Contains(o.Shared[0].Seen, "leader election off") {
			s.Errorf("the file decides: %+v", o.Shared)
		}
	})
}

// TestKubeadmConfigGivesOneNodesValueToAll: what is in kubeadm-config is
// looked at, too.
func TestKubeadmConfigGivesOneNodesValueToAll(t *testing.T) {
	for name, lines := range map[string]string{
		"bind-address":     "  - {name: bind-address, value: 10.88.0.11}\n",
		"in the IPv6 form": "  - {name: bind-address, value: \"::ffff:10.88.0.11\"}\n",
	} {
		t.Run(name, func(t *testing.T) {
			shared := func(text string) string {
				return strings.Replace(text, "  - name: audit-policy-file\n", lines+"  - name: audit-policy-file\n", 1)
			}
			conformance.On(t, 0, phases.InPlace, func(s conformance.Stage) {
				o := ahead(s)
				if len(o.Shared) != 2 || !strings.Contains(o.Shared[0].Seen, "--bind-address") || !strings.Contains(o.Shared[0].Remedy, "kubeadm-config") {
					s.Errorf("%+v", o)
				}
			}, simulator.KubeadmConfig(shared))
		})
	}
}

// TestAnOldKubeadmConfigTakesFlagsOnly: v1beta3 has no place for variables, and
// none for a flag that is there twice, unless it is a list.
func TestAnOldKubeadmConfigTakesFlagsOnly(t *testing.T) {
	conformance.On(t, 0, phases.InPlace, func(s conformance.Stage) {
		const privileged = "    - --allow-privileged=true\n"
		edit(s, apiServerFile, privileged, privileged+"    - --profiling=false\n    - --feature-gates=A=true\n    - --feature-gates=B=true\n")
		o := ahead(s)
		if len(o.Edits) != 2 || len(o.Obstacles) > 0 {
			s.Errorf("%+v", o)
		}
		edit(s, apiServerFile, privileged, privileged+"    - --service-account-issuer=https://new\n")
		if o = ahead(s); len(o.Obstacles) != 2 || !strings.Contains(o.Obstacles[0].Seen, "--service-account-issuer") {
			s.Errorf("%+v", o.Obstacles)
		}
	}, simulator.KubeadmConfig(asV1beta3))
}

// TestAnAPIServerOnOneAddress: restarted in place and undone, with nobody
// at 127.0.0.1 (kubernetes-sigs/kubespray#1985).
func TestAnAPIServerOnOneAddress(t *testing.T) {
	conformance.Long(t)
	for _, bind := range []string{"10.88.0.11", "::ffff:10.88.0.11", "::"} {
		t.Run(bind, func(t *testing.T) {
			conformance.On(t, 1, phases.InPlace, func(s conformance.Stage) {
				edit(s, apiServerFile, "    - --allow-privileged=true\n", fmt.Sprintf("    - --allow-privileged=true\n    - \"--bind-address=%s\"\n", bind))
				if err := s.Phase(2, phases.InPlace); err != nil {
					s.Fatal(err)
				}
				if err := s.Rollback(s.Context(), conformance.AllPhases(phases.InPlace)[1]); err != nil {
					s.Fatal(err)
				}
			})
		})
	}
}

// TestRenderingLeavesNothing on any host.
func TestRenderingLeavesNothing(t *testing.T) {
	conformance.On(t, 0, phases.InPlace, func(s conformance.Stage) {
		before := s.State()
		ahead(s)
		for name, text := range s.State() {
			if _, was := before[name]; !was && strings.HasPrefix(name, "cp1 ") {
				s.Errorf("%s: %q", name, text)
			}
		}
		if _, err := s.Machine("cp1").ReadFile(s.Context(), kube.ManifestsDir+"/kube-apiserver.yaml"); err != nil {
			s.Error(err)
		}
	})
}
