package loadbalancer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hamigrate/migrate/cluster"
	"hamigrate/phases"
)

// TestFixIsRepeatable: the line that is printed for /etc/hosts does what it is
// for, in the hands of a real shell and sed, and nothing when it is done again
// or after somebody has put lines before.
func TestFixIsRepeatable(t *testing.T) {
	t.Parallel()
	const name = "cluster-endpoint"
	for title, tt := range map[string]struct{ hosts, want string }{
		"none":              {"127.0.0.1 localhost\n", "127.0.0.1 localhost\n10.0.0.5 cluster-endpoint\n"},
		"alone":             {"127.0.0.1 localhost\n10.0.0.11\tcluster-endpoint # old\n", "127.0.0.1 localhost\n10.0.0.5 cluster-endpoint\n"},
		"with others":       {" 10.0.0.11  cp1 cluster-endpoint cp1.example\n", "10.0.0.11 cp1 cp1.example\n10.0.0.5 cluster-endpoint\n"},
		"two":               {"10.0.0.11 cluster-endpoint\n10.0.0.12 Cluster-Endpoint.\n10.0.0.13 a\n", "10.0.0.5 cluster-endpoint\n10.0.0.13 a\n"},
		"right beside it":   {"10.0.0.11 cluster-endpoint\n10.0.0.5 cluster-endpoint\n", "10.0.0.5 cluster-endpoint\n"},
		"a point is no dot": {"10.0.0.1 cluster-endpoint\n10.0a0.1 cluster-endpoint\n", "10.0.0.5 cluster-endpoint\n10.0a0.1 cluster-endpoint\n"},
		"hostile":           {"10.0.0.11 cluster-endpoint a&b c/d x\\1 [e] f*g 'q' $(id)\n", "10.0.0.11 a&b c/d x\\1 [e] f*g 'q' $(id)\n10.0.0.5 cluster-endpoint\n"},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			m := Meaning{lines: linesFor(tt.hosts, name)}
			file := filepath.Join(t.TempDir(), "hosts")
			command := strings.ReplaceAll(m.fix(name, "10.0.0.5"), "/etc/hosts", file)
			for _, before := range []string{"", "", "10.0.0.99 new\n"} {
				hosts := tt.hosts
				if have, err := os.ReadFile(file); err == nil {
					hosts = string(have)
				}
				if err := os.WriteFile(file, []byte(before+hosts), 0o600); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v: %s", command, err, out)
				}
				if now, err := os.ReadFile(file); err != nil || string(now) != before+tt.want {
					t.Errorf("%s\nmakes\n%s\nand not\n%s", command, now, before+tt.want)
				}
			}
		})
	}
}

// TestFixElsewhere: where /etc/hosts is right already there is no command for it.
func TestFixElsewhere(t *testing.T) {
	t.Parallel()
	const name = "cluster-endpoint"
	spec := cluster.Spec{Endpoint: cluster.Endpoint{Host: name, Port: 6443},
		LoadBalancer: cluster.LoadBalancer{Kind: cluster.LoadBalancerNginx, Hosts: []cluster.Host{{Name: "lb1", Address: "10.0.0.5"}}}}
	v := phases.NewAccess(spec, nil).Reader("w1")
	for title, tt := range map[string]struct {
		hosts     string
		elsewhere bool
	}{
		"right":             {"127.0.0.1 localhost\n10.0.0.5 cluster-endpoint\n", true},
		"right twice":       {"10.0.0.5 cluster-endpoint\n10.0.0.5 lb Cluster-Endpoint\n", true},
		"one of two":        {"10.0.0.5 cluster-endpoint\n10.0.0.11 cluster-endpoint\n", false},
		"another":           {"10.0.0.11 cluster-endpoint\n", false},
		"not in /etc/hosts": {"127.0.0.1 localhost\n", false},
	} {
		m := Meaning{Node: "w1", Addresses: []string{"10.0.0.11", "10.0.0.5"}, lines: linesFor(tt.hosts, name)}
		m.judge(v, map[string]bool{"10.0.0.5": true}, map[string]string{"10.0.0.11": "cp1"})
		said := strings.HasPrefix(m.Fix, "/etc/hosts is right. `getent ahosts cluster-endpoint` shows 10.0.0.11, too")
		if m.Elsewhere != tt.elsewhere || said != tt.elsewhere || strings.HasPrefix(m.Fix, "sed -i /etc/hosts") {
			t.Errorf("%s: elsewhere %t: %s", title, m.Elsewhere, m.Fix)
		}
	}
}
