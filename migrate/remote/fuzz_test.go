package remote

import (
	"net"
	"strings"
	"testing"

	"hamigrate/internal/within"
)

// FuzzStanding: a line about a file is understood whole, or refused.
func FuzzStanding(f *testing.F) {
	for _, line := range []string{"absent", "other", "link /a b", "folder 755 root root 0 0", "file 600 root UNKNOWN 0 12 5 abc key", "file 600 root root 0 0 -5 abc", "file 77777777777 a b c d 1 x", "x", "file"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		within.Bounds(t, func() {
			s, err := parseStanding(line)
			if err != nil {
				return
			}
			if s.Size < 0 || s.Mode&^0o777 != 0 || (s.Kind == FilePath) != (s.Sum != "") || s.Owner != "" && strings.Count(s.Owner, ":") < 1 {
				t.Errorf("%+v of %q", s, line)
			}
		})
	})
}

// FuzzOwnAddresses: only addresses are told, each once.
func FuzzOwnAddresses(f *testing.F) {
	f.Add("2: eth0    inet 192.0.2.11/24 brd 192.0.2.255\n3: docker0    inet 172.17.0.1/16\n")
	f.Add("192.0.2.11 2001:db8::1 192.0.2.11")
	f.Fuzz(func(t *testing.T, text string) {
		within.Bounds(t, func() {
			seen := map[string]bool{}
			for _, a := range OwnAddresses(text) {
				if net.ParseIP(a).To4() == nil || seen[a] {
					t.Errorf("address %q", a)
				}
				seen[a] = true
			}
		})
	})
}
