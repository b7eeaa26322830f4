package etcd_test

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

const (
	etcdManifest = "/etc/kubernetes/manifests/etcd.yaml"
	etcdBackup   = "/var/lib/migrate/backup/etcd-listen" + etcdManifest
)

// listens runs phase 2 in place up to the step that restarts etcd.
func listens(s conformance.Stage) error {
	p := conformance.AllPhases(phases.InPlace)[1]
	p.Steps = p.Steps[:1]
	s.Operator.Close()
	*s.Operator = *conformance.NewOperator(s.T, s.World, s.Operator.Path)
	return s.Operator.RunPhase(s.Context(), p)
}

// TestEtcdRestart: what the edit of the old member's manifest costs and
// changes. Real nodes were without an API for 72 to 76 s.
func TestEtcdRestart(t *testing.T) {
	conformance.On(t, 1, phases.InPlace, func(s conformance.Stage) {
		before, was := s.State(), s.Outages()["old address"]
		if err := listens(s); err != nil {
			s.Fatal(err)
		}
		if out := s.Outages()["old address"] - was; out < 65*time.Second || out > 80*time.Second {
			s.Errorf("the API was away for %s", out)
		}
		after := s.State()
		const flags = "    - --initial-advertise-peer-urls=https://127.0.0.1:2380\n"
		want := strings.NewReplacer(flags, strings.Replace(flags, "127.0.0.1", "10.88.0.11", 1),
			"--listen-peer-urls=https://127.0.0.1:2380\n", "--listen-peer-urls=https://127.0.0.1:2380,https://10.88.0.11:2380\n").Replace(before["cp1 "+etcdManifest])
		if got := after["cp1 "+etcdManifest]; got != want || got == before["cp1 "+etcdManifest] {
			s.Errorf("the manifest is\n%s", got)
		}
		if got := after["cp1 "+etcdBackup]; got != before["cp1 "+etcdManifest] {
			s.Errorf("the backup is\n%s", got)
		}
		if after["etcd"] != before["etcd"] {
			s.Errorf("etcd was\n%s\nand is\n%s", before["etcd"], after["etcd"])
		}
	})
}

// TestEtcdListensAlready: kubeadm's own shape needs no restart.
func TestEtcdListensAlready(t *testing.T) {
	conformance.On(t, 1, phases.InPlace, func(s conformance.Stage) {
		ops := len(s.Faults.Ops())
		if err := listens(s); err != nil {
			s.Fatal(err)
		}
		if now := s.Faults.Ops(); len(now) != ops {
			s.Errorf("it made changes: %q", now[ops:])
		}
		if out := s.Outages()["old address"]; out != 0 {
			s.Errorf("the API was away for %s", out)
		}
	}, simulator.EtcdOnHostAddress)
}

// foreignPeer gives the old member a peer certificate of another host.
const foreignPeer = `set -e; umask 077; mkdir -p /x/etcd; cd /x/etcd; ln -s /etc/kubernetes/pki/etcd/ca.crt ca.crt; ln -s /etc/kubernetes/pki/etcd/ca.key ca.key
printf 'apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nlocalAPIEndpoint: {advertiseAddress: 10.88.0.99}\nnodeRegistration: {name: other}\n---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.36.3\ncertificatesDir: /x\netcd: {local: {peerCertSANs: [other]}}\n' > /x.yaml
kubeadm init phase certs etcd-peer --config /x.yaml
mv peer.crt /etc/kubernetes/pki/etcd/peer.crt; mv peer.key /etc/kubernetes/pki/etcd/peer.key`

// TestEtcdIsNotRestarted where it would not come back, or would take the
// writes of a cluster with it.
func TestEtcdIsNotRestarted(t *testing.T) {
	tests := []struct {
		name    string
		arrange func(conformance.Stage)
		words   []string
	}{
		{"a relay has the port", func(s conformance.Stage) { overlapUpTo(s, "etcd/peer-relay") },
			[]string{"something listens on 10.88.0.11:2380 of cp1", "systemctl disable --now migrate-etcd-peer-relay.socket"}},
		{"it is not the only voter", func(s conformance.Stage) { overlapUpTo(s, "etcd/promote") },
			[]string{"not the only voter", "10.88.0.21 (e1, voter)", "leave out --strategy in-place"}},
		{"its certificate lacks the address", func(s conformance.Stage) { s.Script("cp1", foreignPeer) },
			[]string{"peer certificate does not hold 10.88.0.11", "kubeadm init phase certs etcd-peer"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			conformance.On(t, 1, phases.InPlace, func(s conformance.Stage) {
				test.arrange(s)
				before, ops := s.State()["cp1 "+etcdManifest], len(s.Faults.Ops())
				s.Operator.Path += "-new" // the journal was lost
				err := listens(s)
				if b := new(migrate.BlockedError); !errors.As(err, &b) {
					s.Fatalf("got %v", err)
				}
				for _, w := range test.words {
					if !strings.Contains(err.Error(), w) {
						s.Errorf("%q is not in: %v", w, err)
					}
				}
				if now := s.Faults.Ops(); len(now) != ops || s.State()["cp1 "+etcdManifest] != before {
					s.Errorf("it made changes: %q", now[ops:])
				}
			})
		})
	}
}

// overlapUpTo runs phase 2 with the overlap up to a step.
func overlapUpTo(s conformance.Stage, last migrate.StepID) {
	s.T.Helper()
	p := conformance.AllPhases(phases.Overlap)[1]
	end := slices.IndexFunc(p.Steps, func(step phases.Step) bool { return step.ID == last })
	p.Steps = p.Steps[:end+1]
	if err := s.Operator.RunPhase(s.Context(), p); err != nil {
		s.Fatal(err)
	}
}

// TestEtcdDoesNotComeBack: the operator learns of it with the cause, and the
// run goes on from there when it is mended.
func TestEtcdDoesNotComeBack(t *testing.T) {
	conformance.On(t, 1, phases.InPlace, func(s conformance.Stage) {
		go func() {
			for !slices.ContainsFunc(s.Faults.Ops(), func(op string) bool { return strings.HasSuffix(op, "write "+etcdManifest) }) {
				time.Sleep(time.Second)
			}
			s.Script("cp1", "mv /etc/kubernetes/pki/etcd/peer.key /root.key")
		}()
		err := s.Phase(2, phases.InPlace)
		if e := new(migrate.StepError); !errors.As(err, &e) || e.Op != migrate.OpVerify || !strings.Contains(err.Error(), "etcd does not run on cp1") {
			s.Fatalf("got %v", err)
		}
		s.Script("cp1", "mv /root.key /etc/kubernetes/pki/etcd/peer.key")
		if err := s.Phase(2, phases.InPlace); err != nil {
			s.Error(err)
		}
	})
}
