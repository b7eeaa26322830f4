package remote

import (
	"slices"
	"testing"
)

// TestOwnAddresses: what every host with containers has is no host's own.
func TestOwnAddresses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"a node": {"2: eth0    inet 10.0.2.15/24 metric 100 brd 10.0.2.255 scope global dynamic eth0\\       valid_lft 86399sec preferred_lft 86399sec\n" +
			"3: eth1    inet 10.0.0.31/24 brd 10.0.0.255 scope global eth1\\       valid_lft forever preferred_lft forever\n" +
			"4: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0\\       valid_lft forever preferred_lft forever\n" +
			"5: cni0    inet 10.244.1.1/24 brd 10.244.1.255 scope global cni0\\       valid_lft forever preferred_lft forever\n" +
			"6: br-4f1    inet 172.18.0.1/16 scope global br-4f1\\       valid_lft forever preferred_lft forever\n" +
			"7: br0    inet 10.0.1.31/24 scope global br0\\       valid_lft forever preferred_lft forever\n" +
			"7: br0    inet 10.0.1.31/24 scope global secondary br0\\       valid_lft forever preferred_lft forever\n",
			[]string{"10.0.2.15", "10.0.0.31", "10.0.1.31"}},
		"no ip":   {"10.0.0.31 172.17.0.1 fd00::1 \n", []string{"10.0.0.31", "172.17.0.1"}},
		"nothing": {"", nil},
	} {
		if got := OwnAddresses(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
