package etcdconfig

import (
	"strings"
	"testing"

	"hamigrate/migrate/kube"
)

// TestForced reads a switch as etcd does.
func TestForced(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]bool{
		"etcd --force-new-cluster": true, "etcd --force-new-cluster --name=cp1": true, "etcd -force-new-cluster=1": true, "etcd --force-new-cluster=TRUE": true,
		"etcd --force-new-cluster=false": false, "etcd --force-new-cluster --force-new-cluster=false": false, "etcd --name=force-new-cluster": false,
	} {
		if got := isOn(kube.ParseFlags(strings.Fields(words)), "force-new-cluster"); got != want {
			t.Errorf("%s: %v", words, got)
		}
	}
}
