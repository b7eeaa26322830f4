package apiserver

import (
	"testing"

	"hamigrate/migrate/kube"
)

func TestPortOf(t *testing.T) {
	t.Parallel()
	if p, err := portOf("10.88.0.11:6443"); err != nil || p != 6443 {
		t.Errorf("the port is %d, %v", p, err)
	}
	for _, address := range []string{"", "10.88.0.11", "10.88.0.11:https"} {
		if p, err := portOf(address); err == nil {
			t.Errorf("the port of %q is %d", address, p)
		}
	}
}

// TestListenAddress: at the loopback, unless it listens at one address only.
func TestListenAddress(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{
		"--other=1":                "127.0.0.1",
		"--bind-address=0.0.0.0":   "127.0.0.1",
		"--bind-address=::":        "127.0.0.1",
		"--bind-address=10.88.0.9": "10.88.0.9",
	} {
		if got := listenAddress(kube.ParseFlags([]string{flag})); got != want {
			t.Errorf("with %s it is asked at %s, not %s", flag, got, want)
		}
	}
}
