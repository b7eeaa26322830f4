package balancer

import (
	"net"
	"strings"
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
			got := plain(text)
			if _, port, err := net.SplitHostPort(text); err == nil && !strings.HasSuffix(got, ":"+port) {
				t.Errorf("%q is %q: another port", text, got)
			} else if err != nil && got != text {
				t.Errorf("%q, which is no address with a port, is %q", text, got)
			}
		})
	})
}
