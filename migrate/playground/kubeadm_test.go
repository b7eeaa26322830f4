package playground

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

func TestPreflightErrorsAreIgnoredWhereTheMachineIsAtFault(t *testing.T) {
	t.Parallel()
	const header = "Filename\tType\tSize\n"
	for _, c := range []struct {
		swaps              string
		processors, memory int
		want               string
	}{
		{header, 2, 8 << 20, "[SystemVerification]"},
		{"", 2, 8 << 20, "[SystemVerification]"},
		{header + "/swap\tfile\t1\n", 1, 1 << 20, "[SystemVerification, Swap, NumCPU, Mem]"},
	} {
		if got := ignoredPreflightErrors(c.swaps, c.processors, c.memory); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// Every configuration for kubeadm must be YAML, and say what was wished and
// nothing else.
func TestInitConfiguration(t *testing.T) {
	t.Parallel()
	for _, localhost := range []bool{false, true} {
		for _, hardened := range []bool{false, true} {
			for _, v1 := range []bool{false, true} {
				data := clusterData{
					Kubernetes: "1.36.3", Token: "abcdef.0123456789abcdef", Ignore: "[SystemVerification]",
					First:     Host{Name: "cp1", Address: slotAddress(3, lastControlPlane)},
					PodSubnet: podSubnet, ServiceSubnet: serviceSubnet,
					Localhost: localhost, Components: components(Options{Hardened: hardened}), CgroupV1: v1,
				}
				text, err := render("init.yaml", data)
				if err != nil {
					t.Fatal(err)
				}
				docs := decodeAll(t, text)
				kinds := []any{docs[0]["kind"], docs[1]["kind"], docs[2]["kind"], docs[3]["kind"]}
				want := []any{"InitConfiguration", "ClusterConfiguration", "KubeletConfiguration", "KubeProxyConfiguration"}
				if diff := cmp.Diff(want, kinds); diff != "" {
					t.Errorf("kinds (-want +got):\n%s", diff)
				}
				_, hasEtcd := docs[1]["etcd"]
				_, hasAPIServer := docs[1]["apiServer"]
				_, allowsV1 := docs[2]["failCgroupV1"]
				if hasEtcd != localhost || hasAPIServer != hardened || allowsV1 != v1 {
					t.Errorf("localhost %t, hardened %t, cgroup v1 %t:\n%s", localhost, hardened, v1, text)
				}
				if _, has := docs[1]["controlPlaneEndpoint"]; has {
					t.Error("the cluster has a control-plane endpoint: nothing is left to migrate")
				}
			}
		}
	}
}

func decodeAll(t *testing.T, text string) []map[string]any {
	t.Helper()
	var docs []map[string]any
	for d := yaml.NewDecoder(bytes.NewReader([]byte(text))); ; {
		var doc map[string]any
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		docs = append(docs, doc)
	}
}
