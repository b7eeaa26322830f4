package kube

import (
	"strings"
	"testing"
)

// TestLacks: who names the old etcd is ready for its end when each new member
// is named as the old one is, by address, by name or by a name with a domain.
func TestLacks(t *testing.T) {
	t.Parallel()
	e := EtcdPlace{Hosts: []string{"10.0.0.1", "cp1"}, Ports: []string{"2379", "2381"},
		Members: []EtcdMember{{[]string{"10.0.0.21", "e1"}, "2379"}, {[]string{"10.0.0.22", "e2"}, "2379"}}}
	for text, want := range map[string]string{
		"https://10.0.0.1:2379":                                                           "https://10.0.0.21:2379 https://10.0.0.22:2379",
		"https://10.0.0.1:2379,https://10.0.0.21:2379":                                    "https://10.0.0.22:2379",
		"https://10.0.0.1:2379,https://10.0.0.21:2379,https://10.0.0.220:2379":            "https://10.0.0.22:2379",
		"https://10.0.0.1:2379,https://10.0.0.21:2379,https://10.0.0.22:2379":             "",
		"https://cp1:2379,https://e1.example.com:2379,https://e2:2379":                    "",
		"https://cp1:2379,https://e1x.example.com:2379,https://e2:2379":                   "https://10.0.0.21:2379",
		"https://cp1:2379,https://e1:2381,https://e2:2381":                                "https://10.0.0.21:2379 https://10.0.0.22:2379",
		`["cp1:2381", "e1:2381", "e2:2381"]`:                                              "",
		`["cp1:2381", "e1:2379", "e2:2379"]`:                                              "",
		"scrape cp1:2381 e1:2381 e2:2381, save from https://cp1:2379":                     "https://10.0.0.21:2379 https://10.0.0.22:2379",
		"hostPath: /etc/kubernetes/pki/etcd":                                              "https://10.0.0.21:2379 https://10.0.0.22:2379",
		"hostPath: /etc/kubernetes/pki/etcd, endpoints https://e1:2379,10.0.0.22:2379/v3": "",
	} {
		if got := strings.Join(e.lacks(text, false), " "); got != want {
			t.Errorf("%s\nlacks %q, want %q", text, got, want)
		}
	}
}
