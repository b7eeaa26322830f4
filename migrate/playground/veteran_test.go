package playground

import (
	"os"
	"testing"
)

func TestDumpForMe(t *testing.T) {
	o, _ := Options{Name: "x", Profile: ProfileVeteran}.withDefaults()
	data := clusterData{Kubernetes: "1.36.3", Token: "abcdef.0123456789abcdef", Ignore: "[SystemVerification]", First: Host{Name: "cp1", Address: slotAddress(3, 11)},
		PodSubnet: podSubnet, ServiceSubnet: serviceSubnet, Localhost: true, Veteran: true, CgroupV1: true, Components: components(o), CAData: "eA==", DiscoveryFile: "/run/x"}
	for _, n := range []string{"init.yaml", "veteran-init", "join.yaml", "discovery.yaml"} {
		s, err := render(n, data)
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile("/tmp/vet/"+n, []byte(s), 0o644)
	}
}
