package controlplane_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/conformance"
	"hamigrate/phases/simulator"
)

// asV1beta3 is the world's kubeadm-config as kubeadm wrote it before 1.31: extra
// arguments are a map.
func asV1beta3(text string) string {
	list := "  - name: audit-policy-file\n    value: /etc/kubernetes/audit/policy.yaml\n  - name: audit-log-path\n    value: /var/log/kubernetes/audit/audit.log\n" +
		"  - name: encryption-provider-config\n    value: /etc/kubernetes/enc/enc.yaml\n"
	asMap := "    audit-policy-file: /etc/kubernetes/audit/policy.yaml\n    audit-log-path: /var/log/kubernetes/audit/audit.log\n" +
		"    encryption-provider-config: /etc/kubernetes/enc/enc.yaml\n"
	text = strings.Replace(text, list, asMap, 1)
	text = strings.Replace(text, "  - name: allocate-node-cidrs\n    value: \"false\"\n", "    allocate-node-cidrs: \"false\"\n", 1)
	return strings.NewReplacer("v1beta4", "v1beta3", "caCertificateValidityPeriod: 87600h0m0s\n", "", "certificateValidityPeriod: 8760h0m0s\n", "", "encryptionAlgorithm: RSA-2048\n", "").Replace(text)
}

// TestOldKubeadmConfig: v1beta3 writes extra arguments as a map, and goes out
// as it came in.
func TestOldKubeadmConfig(t *testing.T) {
	conformance.On(t, 3, phases.InPlace, func(s conformance.Stage) {
		config := s.State()["object configmaps kube-system/kubeadm-config"]
		for _, part := range []string{"v1beta3", "audit-policy-file: /etc", `allocate-node-cidrs: \"false\"`, "external:"} {
			if !strings.Contains(config, part) {
				s.Errorf("kubeadm-config lacks %q:\n%s", part, config)
			}
		}
	}, simulator.KubeadmConfig(asV1beta3))
}

// TestAdvertiseAddressIsNotCopied: with it in kubeadm-config every joined API
// server would announce the first one's address.
func TestAdvertiseAddressIsNotCopied(t *testing.T) {
	pinned := func(text string) string {
		return strings.Replace(text, "  - name: audit-policy-file\n", "  - name: advertise-address\n    value: 10.88.0.11\n  - name: audit-policy-file\n", 1)
	}
	conformance.On(t, 3, phases.InPlace, func(s conformance.Stage) {
		for node, address := range map[string]string{"cp1": "10.88.0.11", "cp2": "10.88.0.12", "cp3": "10.88.0.13"} {
			if runs := s.State()[node+" runs"]; !strings.Contains(runs, "--advertise-address="+address+" ") {
				s.Errorf("%s runs %s", node, runs)
			}
		}
	}, simulator.KubeadmConfig(pinned))
}

// TestJoinedNodeIsNeverReset: phase 3 is run again while a node that has
// joined is in trouble. It carries traffic, or will again.
func TestJoinedNodeIsNeverReset(t *testing.T) {
	for name, trouble := range map[string]string{
		"its API server is down": "mv /etc/kubernetes/manifests/kube-apiserver.yaml /root.yaml",
		"its kubelet is down":    "systemctl stop kubelet",
	} {
		t.Run(name, func(t *testing.T) {
			conformance.On(t, 3, phases.InPlace, func(s conformance.Stage) {
				s.Script("cp2", trouble)
				s.Pass(time.Minute)
				ops := len(s.Faults.Ops())
				if err := s.Phase(3, phases.InPlace); err == nil {
					s.Error("phase 3 is content")
				}
				for _, op := range s.Faults.Ops()[ops:] {
					if strings.Contains(op, "kubeadm") || strings.Contains(op, "DELETE nodes") {
						s.Errorf("it did %s", op)
					}
				}
			})
		})
	}
}

// TestSomebodysNode: a host that is a node already is not ours to join.
func TestSomebodysNode(t *testing.T) {
	conformance.On(t, 2, phases.InPlace, func(s conformance.Stage) {
		s.Script("cp2", "mkdir -p /etc/kubernetes; echo 'kind: Config' > /etc/kubernetes/kubelet.conf")
		err := s.Phase(3, phases.InPlace)
		if b := new(migrate.BlockedError); !errors.As(err, &b) || b.Step != "controlplane/join" || !strings.Contains(err.Error(), "kubelet.conf") {
			s.Errorf("got %v", err)
		}
	})
}

// TestNodeLostInTheMiddle: a node that was Ready at first and is not any more
// stops the phase before its next change.
func TestNodeLostInTheMiddle(t *testing.T) {
	conformance.On(t, 2, phases.Overlap, func(s conformance.Stage) {
		s.Script("w2", "systemctl stop kubelet")
		s.Pass(30 * time.Second) // too short for the cluster to notice
		err := s.Phase(3, phases.Overlap)
		if err == nil || !strings.Contains(err.Error(), "w2") {
			s.Fatalf("got %v", err)
		}
		if ops := s.Faults.Ops(); slices.ContainsFunc(ops, func(op string) bool { return strings.HasPrefix(op, "cp3: run kubeadm") }) {
			s.Error("it went on to the next node")
		}
		s.Script("w2", "systemctl start kubelet")
		s.Pass(time.Minute)
		if err := s.Phase(3, phases.Overlap); err != nil {
			s.Errorf("when the node is back: %v", err)
		}
	})
}
