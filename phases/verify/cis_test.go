package verify_test

import (
	"slices"
	"strings"
	"testing"

	"hamigrate/phases/simulator"
	"hamigrate/phases/verify"
)

// TestEveryItemHasARow: each item is looked at on each host that it is for, and
// says what was seen there.
func TestEveryItemHasARow(t *testing.T) {
	t.Parallel()
	r := look(t, migrated(t), nil)
	on := map[string][]string{}
	for _, x := range r.Results {
		if x.Check != "CIS" {
			continue
		}
		if !x.OK || x.Warning || !strings.HasPrefix(x.Seen, "CIS "+x.Item+": ") {
			t.Errorf("%+v", x)
		}
		if !slices.Contains(on[x.Item], x.Host) {
			on[x.Item] = append(on[x.Item], x.Host)
		}
	}
	planes, members := []string{"cp1", "cp2", "cp3"}, []string{"e1", "e2", "e3"}
	for hosts, items := range map[string][]string{
		strings.Join(planes, " "):  {"1.1.1", "1.1.2", "1.1.3", "1.1.4", "1.1.5", "1.1.6", "1.1.13", "1.1.14", "1.1.15", "1.1.16", "1.1.17", "1.1.18", "1.1.19", "1.1.20", "1.1.21", "1.2.23", "1.2.24", "1.2.26", "1.2.27", "1.2.28"},
		strings.Join(members, " "): {"1.1.11", "1.1.12", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7"},
		"cp1 cp2 cp3 w1 w2":        {"4.1.5", "4.1.6"},
	} {
		for _, item := range items {
			if got := strings.Join(on[item], " "); got != hosts {
				t.Errorf("item %s was looked at on %q, want %q", item, got, hosts)
			}
		}
	}
}

// TestItems: what is wrong on a host of the migration's is not so; on one that
// was there before it is a warning.
func TestItems(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		name, item, host, word string
		warning                bool
		arrange                func(*testing.T, *simulator.World)
	}{
		{"a manifest that all can read", "1.1.1", "cp2", "mode 644", false, root("cp2", "chmod 644 /etc/kubernetes/manifests/kube-apiserver.yaml")},
		{"an admin.conf that all could read before", "1.1.13", "cp1", "has not set that", true, root("cp1", "chmod 644 /etc/kubernetes/admin.conf")},
		{"a kubelet.conf of a worker", "4.1.5", "w1", "mode 640", true, root("w1", "chmod 640 /etc/kubernetes/kubelet.conf")},
		{"a key that all can read", "1.1.21", "cp3", "pki/sa.key has mode 644", false, root("cp3", "chmod 644 /etc/kubernetes/pki/sa.key")},
		{"somebody's certificate, carried as it is on cp1", "1.1.20", "cp2", "is a copy of the file on cp1", true, root("cp2", "echo x >/etc/kubernetes/pki/oidc-ca.crt && chmod 664 /etc/kubernetes/pki/oidc-ca.crt")},
		{"data that others can read", "1.1.11", "e2", "mode 755", false, root("e2", "install -d -m 0755 -o etcd -g etcd /var/lib/etcd-external")},
		{"data of root's", "1.1.12", "e2", "owned by root:root", false, root("e2", "install -d -m 0700 -o root -g root /var/lib/etcd-external")},
		{"another encryption key", "1.2.28", "cp3", "is not that of cp1", false, root("cp3", "echo other >/etc/kubernetes/enc/enc.yaml")},
		{"the cluster's CA for etcd", "2.7", "e3", "holds the cluster's CA", false, func(_ *testing.T, w *simulator.World) {
			w.Carry("cp1", "/etc/kubernetes/pki/ca.crt", "e3", "/etc/etcd/pki/ca.crt")
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			r := look(t, migrated(t), f.arrange)
			if !slices.ContainsFunc(r.Results, func(x verify.Result) bool {
				return x.Item == f.item && x.Host == f.host && strings.Contains(x.Seen, f.word) && x.OK == f.warning && x.Warning == f.warning && x.Remedy != ""
			}) {
				t.Errorf("%s on %s was not found with %q; what was: %+v", f.item, f.host, f.word, r.Results)
			}
		})
	}
}
