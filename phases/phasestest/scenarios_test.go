package phasestest_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/phasestest"
)

// stage is a world with an operator, at some point of the migration.
type stage struct {
	*testing.T
	*phasestest.World
	*operator
}

// on begins a test in a world where the first phases are done.
func on(t *testing.T, done int, strategy phases.Strategy, play func(stage), options ...phasestest.Option) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := phasestest.New(t, options...)
		defer w.Close()
		o := newOperator(t, w, filepath.Join(t.TempDir(), "journal"))
		defer func() { o.close() }()
		for _, p := range allPhases(strategy)[:done] {
			if err := o.run(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		play(stage{t, w, o})
		if broken := w.Broken(); len(broken) > 0 {
			t.Errorf("never may be: %q", broken)
		}
	})
}

func (s stage) root(host, script string) {
	s.T.Helper()
	if err := s.Root(host, script); err != nil {
		s.Fatal(err)
	}
}

// phase runs a phase as a new start of the program.
func (s stage) phase(number int, strategy phases.Strategy) error {
	s.operator.close()
	*s.operator = *newOperator(s.T, s.World, s.operator.path)
	return s.operator.run(s.Context(), allPhases(strategy)[number-1])
}

// blocked wants an error that says so, with these words in it, and nothing
// changed meanwhile.
func (s stage) blocked(number int, words ...string) {
	s.T.Helper()
	ops := len(s.Faults.Ops())
	err := s.phase(number, phases.Overlap)
	if b := new(migrate.BlockedError); !errors.As(err, &b) {
		s.Fatalf("got %v, a blocked phase is wanted", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			s.Errorf("%q is not in: %v", w, err)
		}
	}
	if now := s.Faults.Ops(); len(now) != ops {
		s.Errorf("blocked, it made changes: %q", now[ops:])
	}
}

func TestKubeadmsOwnShape(t *testing.T) {
	on(t, 3, phases.Overlap, func(s stage) {
		for _, op := range s.Faults.Ops() {
			if strings.Contains(op, "relay") || strings.Contains(op, "update member") {
				s.Errorf("the old member needs no %q", op)
			}
		}
	}, phasestest.EtcdOnHostAddress)
}

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
	on(t, 3, phases.InPlace, func(s stage) {
		config := s.State()["object configmaps kube-system/kubeadm-config"]
		for _, part := range []string{"v1beta3", "audit-policy-file: /etc", `allocate-node-cidrs: \"false\"`, "external:"} {
			if !strings.Contains(config, part) {
				s.Errorf("kubeadm-config lacks %q:\n%s", part, config)
			}
		}
	}, phasestest.KubeadmConfig(asV1beta3))
}

// TestAdvertiseAddressIsNotCopied: with it in kubeadm-config every joined API
// server would announce the first one's address.
func TestAdvertiseAddressIsNotCopied(t *testing.T) {
	pinned := func(text string) string {
		return strings.Replace(text, "  - name: audit-policy-file\n", "  - name: advertise-address\n    value: 10.88.0.11\n  - name: audit-policy-file\n", 1)
	}
	on(t, 3, phases.InPlace, func(s stage) {
		for node, address := range map[string]string{"cp1": "10.88.0.11", "cp2": "10.88.0.12", "cp3": "10.88.0.13"} {
			if runs := s.State()[node+" runs"]; !strings.Contains(runs, "--advertise-address="+address+" ") {
				s.Errorf("%s runs %s", node, runs)
			}
		}
	}, phasestest.KubeadmConfig(pinned))
}

// TestJoinedNodeIsNeverReset: phase 3 is run again while a node that has
// joined is in trouble. It carries traffic, or will again.
func TestJoinedNodeIsNeverReset(t *testing.T) {
	for name, trouble := range map[string]string{
		"its API server is down": "mv /etc/kubernetes/manifests/kube-apiserver.yaml /root.yaml",
		"its kubelet is down":    "systemctl stop kubelet",
	} {
		t.Run(name, func(t *testing.T) {
			on(t, 3, phases.InPlace, func(s stage) {
				s.root("cp2", trouble)
				s.Pass(time.Minute)
				ops := len(s.Faults.Ops())
				if err := s.phase(3, phases.InPlace); err == nil {
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
	on(t, 2, phases.InPlace, func(s stage) {
		s.root("cp2", "mkdir -p /etc/kubernetes; echo 'kind: Config' > /etc/kubernetes/kubelet.conf")
		err := s.phase(3, phases.InPlace)
		if b := new(migrate.BlockedError); !errors.As(err, &b) || b.Step != "controlplane/join" || !strings.Contains(err.Error(), "kubelet.conf") {
			s.Errorf("got %v", err)
		}
	})
}

// TestForeignData: what lies in a new member's folder is neither joined to
// this cluster nor wiped.
func TestForeignData(t *testing.T) {
	on(t, 1, phases.InPlace, func(s stage) {
		s.root("e2", "mkdir -p /var/lib/etcd-external/member/snap; echo 'of another cluster' > /var/lib/etcd-external/member/snap/db")
		err := s.phase(2, phases.InPlace)
		if b := new(migrate.BlockedError); !errors.As(err, &b) || b.Target != "e2" {
			s.Fatalf("got %v", err)
		}
		if got := s.State()["e2 /var/lib/etcd-external/member/snap/db"]; !strings.Contains(got, "of another cluster") {
			s.Errorf("the data is %q", got)
		}
		if etcd := s.State()["etcd"]; strings.Contains(etcd, "10.88.0.22") {
			s.Errorf("e2 is a member: %s", etcd)
		}
	})
}

// TestTakenPort: somebody else's program has the endpoint's port.
func TestTakenPort(t *testing.T) {
	on(t, 0, phases.InPlace, func(s stage) {
		s.root("lb2", "printf 'server {\\n listen 6443;\\n}\\n' > /etc/nginx/sites-enabled/other; systemctl reload nginx")
		before := s.State()["lb2 /etc/nginx/sites-enabled/other"]
		err := s.phase(1, phases.InPlace)
		if b := new(migrate.BlockedError); !errors.As(err, &b) || b.Target != "lb2" || !strings.Contains(err.Error(), "6443") {
			s.Errorf("got %v", err)
		}
		if after := s.State()["lb2 /etc/nginx/sites-enabled/other"]; after != before {
			s.Errorf("the other's file has become %q", after)
		}
	})
}

// TestUnhealthyCluster: nothing is begun, nor gone on with, while an invariant
// does not hold.
func TestUnhealthyCluster(t *testing.T) {
	tests := []struct {
		name, host, script string
		phase              int
		words              []string
	}{
		{"a node is lost between two phases", "w2", "systemctl stop kubelet", 2, nil},
		{"a voter is down", "e2", "systemctl stop etcd", 3, []string{"e2"}},
		{"no API server", "cp1", "mv /etc/kubernetes/manifests/kube-apiserver.yaml /kube-apiserver.yaml", 1, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			on(t, test.phase-1, phases.Overlap, func(s stage) {
				s.root(test.host, test.script)
				s.Pass(2 * time.Minute)
				ops := len(s.Faults.Ops())
				err := s.phase(test.phase, phases.Overlap)
				if test.host == "w2" {
					// A node that was down before the program started is not
					// lost by it, and does not hold up what needs no worker.
					if err != nil {
						s.Errorf("got %v", err)
					}
					return
				}
				if err == nil {
					s.Fatal("the phase ran")
				}
				for _, word := range test.words {
					if !strings.Contains(err.Error(), word) {
						s.Errorf("%q is not in: %v", word, err)
					}
				}
				if now := s.Faults.Ops(); len(now) != ops {
					s.Errorf("it made changes: %q", now[ops:])
				}
			})
		})
	}
}

// TestAlarm: an etcd that takes no writes is not grown.
func TestAlarm(t *testing.T) {
	on(t, 1, phases.Overlap, func(s stage) {
		s.Alarm("NOSPACE")
		s.blocked(2, "NOSPACE")
		s.Alarm("")
		if err := s.phase(2, phases.Overlap); err != nil {
			s.Error(err)
		}
	})
}

// TestNodeLostInTheMiddle: a node that was Ready at first and is not any more
// stops the phase before its next change.
func TestNodeLostInTheMiddle(t *testing.T) {
	on(t, 2, phases.Overlap, func(s stage) {
		s.root("w2", "systemctl stop kubelet")
		s.Pass(30 * time.Second) // too short for the cluster to notice
		err := s.phase(3, phases.Overlap)
		if err == nil || !strings.Contains(err.Error(), "w2") {
			s.Fatalf("got %v", err)
		}
		if ops := s.Faults.Ops(); slices.ContainsFunc(ops, func(op string) bool { return strings.HasPrefix(op, "cp3: run kubeadm") }) {
			s.Error("it went on to the next node")
		}
		s.root("w2", "systemctl start kubelet")
		s.Pass(time.Minute)
		if err := s.phase(3, phases.Overlap); err != nil {
			s.Errorf("when the node is back: %v", err)
		}
	})
}

// TestTheNodeHelpsItself: the new API server can't reach the new members, and
// the operator is gone. The timer on the node puts the old manifest back.
func TestTheNodeHelpsItself(t *testing.T) {
	on(t, 1, phases.InPlace, func(s stage) {
		gone := errors.New("the operator is gone")
		s.Watch = func(p phasestest.Point) {
			if strings.HasSuffix(p.Op, "write /etc/kubernetes/manifests/kube-apiserver.yaml") && p.When == 1 {
				p.World = nil
				panic(gone)
			}
		}
		func() {
			defer func() {
				if r := recover(); r != gone {
					s.Errorf("got %v", r)
				}
			}()
			_ = s.phase(2, phases.InPlace)
		}()
		s.Watch = nil
		for _, e := range []string{"e1", "e2", "e3"} {
			s.Cut("cp1", e, true)
		}
		s.Pass(2 * time.Minute)
		if err := s.Root("w1", "curl -sk -m 10 -o /dev/null -w '%{http_code}' https://10.88.0.11:6443/readyz | grep -q 200"); err == nil {
			s.Fatal("the API server reached members that it can't reach")
		}
		s.Pass(10 * time.Minute)
		s.root("w1", "curl -sk -m 10 -o /dev/null -w '%{http_code}' https://10.88.0.11:6443/readyz | grep -q 200")
		for _, e := range []string{"e1", "e2", "e3"} {
			s.Cut("cp1", e, false)
		}
		if err := s.phase(2, phases.InPlace); err != nil {
			s.Errorf("when the network is back: %v", err)
		}
	})
}

// TestNginxKeepsALimitOfOthers: what an included file has set already is not set
// once more, which nginx would refuse.
func TestNginxKeepsALimitOfOthers(t *testing.T) {
	on(t, 0, phases.InPlace, func(s stage) {
		s.root("lb2", "printf 'worker_rlimit_nofile 1024;\\n' > /etc/nginx/modules-enabled/10-own.conf; systemctl reload nginx")
		if err := s.phase(1, phases.InPlace); err != nil {
			s.Fatalf("got %v", err)
		}
		s.root("lb2", "nginx -t")
		if got := s.State()["lb2 nginx"]; !strings.Contains(got, "6443") {
			s.Errorf("nginx runs with\n%s", got)
		}
	})
}
