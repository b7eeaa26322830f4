package balancer

import (
	"testing"

	"hamigrate/internal/within"
)

// FuzzSocketAddress: what hosts print of their connections.
func FuzzSocketAddress(f *testing.F) {
	f.Add("[::ffff:192.0.2.11%eth0]:6443")
	f.Add("192.0.2.11:6443")
	f.Add("[[:")
	f.Fuzz(func(t *testing.T, text string) {
		within.Bounds(t, func() {
			if once := plain(text); plain(once) != once {
				t.Errorf("%q is %q, and that is %q", text, once, plain(once))
			}
		})
	})
}
