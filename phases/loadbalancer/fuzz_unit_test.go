package loadbalancer

import (
	"net/netip"
	"strings"
	"testing"

	"hamigrate/internal/within"
)

// FuzzAddresses: what hosts print of addresses and of the hosts file.
func FuzzAddresses(f *testing.F) {
	f.Add("2: eth0    inet 192.0.2.11/24 brd 192.0.2.255 scope global eth0\n192.0.2.5 api.example api # x\n", "api.example")
	f.Add("::1 API.\n", "api")
	f.Fuzz(func(t *testing.T, text, name string) {
		within.Bounds(t, func() {
			for _, l := range linesFor(text, name) {
				if _, err := netip.ParseAddr(l.address); err != nil {
					t.Errorf("line %+v", l)
				}
			}
			for _, a := range deviceAddresses(text) {
				if strings.ContainsAny(a, " \n/") {
					t.Errorf("address %q", a)
				}
			}
		})
	})
}
