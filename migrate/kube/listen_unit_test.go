package kube

import "testing"

func TestEveryAddress(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"": true, "0.0.0.0": true, "::": true, "[::]": true, "::ffff:0.0.0.0": true, "0:0:0:0:0:0:0:0": true,
		"10.88.0.11": false, "127.0.0.1": false, "::1": false, "localhost": false, "*": false,
	} {
		if EveryAddress(host) != want {
			t.Errorf("%q is every address: %t", host, !want)
		}
		if (Flags{{"bind-address", host}}).ListensEverywhere() != want {
			t.Errorf("--bind-address=%s", host)
		}
	}
	if !(Flags{}).ListensEverywhere() {
		t.Error("no flag is every address")
	}
}
