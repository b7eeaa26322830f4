package etcdflags

import (
	"testing"

	"hamigrate/migrate/kube"
)

func TestListenAddress(t *testing.T) {
	t.Parallel()
	tests := []struct {
		list, want string
		local      bool
	}{
		{"https://127.0.0.1:2380", "127.0.0.1:2380", true},
		{"https://localhost:2380", "localhost:2380", true},
		{"https://127.0.0.1:2379,https://10.88.0.11:2379", "127.0.0.1:2379", false},
		{"https://10.88.0.11:2379,https://127.0.0.1:2379", "127.0.0.1:2379", false},
		{"https://10.88.0.11:2380", "10.88.0.11:2380", false},
		{"https://0.0.0.0:2379", "127.0.0.1:2379", false},
		{"https://[::ffff:0.0.0.0]:2379", "127.0.0.1:2379", false},
		{"https://[0:0:0:0:0:0:0:0]:2379", "127.0.0.1:2379", false},
		{"https://[::]:2379", "127.0.0.1:2379", false},
		{"https://[::1]:2380", "[::1]:2380", true},
		{" https://[fd00::11]:2380 ", "[fd00::11]:2380", false},
		{"", "", true},
		{"unix:///run/etcd.sock,https://127.0.0.1:2379", "127.0.0.1:2379", true},
	}
	for _, test := range tests {
		got, local := ListenAddress(kube.Flags{{Name: "listen-peer-urls", Value: test.list}}, "listen-peer-urls")
		if got != test.want || local != test.local {
			t.Errorf("%q: got %q, local only %t; want %q, %t", test.list, got, local, test.want, test.local)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.1.1": true, "::1": true, "localhost": true,
		"10.88.0.11": false, "cp1": false, "": false, "0.0.0.0": false,
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("%q: got %t", host, got)
		}
	}
}
