package preflight

import (
	"strings"
	"testing"

	"hamigrate/internal/within"
)

// FuzzFacts: what a host prints of itself is read within bounds; a block that
// cannot be read is no fact, and what was cut is refused.
func FuzzFacts(f *testing.F) {
	f.Add("@@arch\nx86_64\n@@machine-id\nabc\n@@memory\nMemTotal: 8 kB\nMemAvailable: 4 kB\n@@apiserver\n 300\n@@swap\nFilename Type\n/dev/sda2 partition 1 0 -2\n@@disk /etc\nFilesystem 1024-blocks Used Available Capacity Mounted\n/dev/sda1 10 5 5 50% /\n@@inotify\n128\n12\n@@addresses\n2: eth0    inet 192.0.2.11/24 brd 192.0.2.255\n@@listening\nLISTEN 0 4096 *:6443 *:*\n@@kubelet\nKubernetes v1.36.3\n@@kubeadm\nv1.36.3\n@@manifests\netcd.yaml\n@@proxy\nhttps_proxy=set\n@@certificate /a\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n@@kubeconfig /b\nAAAA\n@@end\n")
	f.Add("\n@@end\n")
	f.Add("@@arch\n@@end\n@@memory\nMemTotal: 99999999999999999999 kB\n@@inotify\n-1\n-2\n@@end\n")
	f.Add(strings.Repeat("@@kubeconfig x\nAAAA AAAA\n", 1000) + "@@end\n")
	f.Fuzz(func(t *testing.T, out string) {
		within.Bounds(t, func() {
			facts, err := parseFacts(out)
			if err != nil {
				if strings.Contains(out, "\n@@end\n") {
					t.Error(err)
				}
				return
			}
			for _, a := range facts.Addresses {
				if strings.Count(a, ".") != 3 {
					t.Errorf("address %q", a)
				}
			}
			facts.listens("192.0.2.11", 6443)
			for _, text := range append([]string{facts.Kubelet, facts.Kubeadm, facts.Arch, facts.MachineID}, facts.Manifests...) {
				if !strings.Contains(out, text) {
					t.Errorf("%q was not printed", text)
				}
			}
		})
	})
}
