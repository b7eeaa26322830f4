package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// apiServerCommand is what the API server of cp1 was started with.
func (c *chaos) apiServerCommand(t *testing.T) string {
	t.Helper()
	return c.pg.hosts["cp1"].must(t, `tr '\0' '\n' </proc/$(pgrep -xo kube-apiserver)/cmdline`)
}

// clusterInfoServer is where joining nodes are led to.
func (c *chaos) clusterInfoServer(t *testing.T) string {
	t.Helper()
	info, err := c.pg.kube(t, c.pg.api("cp1")).CoreV1().ConfigMaps("kube-public").Get(soon(t), "cluster-info", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return serverOf(t, info.Data["kubeconfig"])
}

// check is one look at what a leg left.
type check struct {
	name string
	do   func(*testing.T, *chaos)
}

// endState looks at everything that must be true after a leg, and says whether
// it is.
func (c *chaos) endState(t *testing.T, leg legID) bool {
	t.Helper()
	same := func(do func(*testing.T, *scenario)) func(*testing.T, *chaos) {
		return func(t *testing.T, c *chaos) { do(t, c.scenario) }
	}
	list := []check{
		{"nothing is left to do", func(t *testing.T, c *chaos) { nothingMore(t, c, leg) }},
		{"every acknowledged write is there", acknowledgedKept},
		{"the unrelated site", same(unrelatedSite)},
	}
	switch leg {
	case legID{1, false}:
		list = append(list, check{"clients follow the endpoint", endpointFollowed})
	case legID{1, true}:
		list = append(list, check{"one member", oneMember}, check{"nobody follows the endpoint", func(t *testing.T, c *chaos) { c.nodesTalkTo(t, c.pg.api("cp1")) }},
			check{"all is as it was before", same(asBefore)})
	case legID{2, false}:
		list = append(list, check{"three members", same(threeMembers)}, check{"no etcd on the control plane", same(noEtcdOnControlPlane)},
			check{"arguments of the API server", func(t *testing.T, c *chaos) { argumentsOf(t, c.scenario, "cp1") }})
	case legID{2, true}:
		list = append(list, check{"one member", oneMember}, check{"clients follow the endpoint", endpointFollowed})
	case legID{3, false}:
		for _, st := range lookStages() {
			list = append(list, check{st.name, same(st.do)})
		}
	case legID{3, true}:
		list = append(list, check{"three members", same(threeMembers)}, check{"one control-plane node", oneControlPlane}, check{"clients follow the endpoint", endpointFollowed})
	}
	all := true
	for _, one := range list {
		all = t.Run(one.name, func(t *testing.T) { one.do(t, c) }) && all
	}
	return all
}

// nothingMore: asked what is left of the leg, the program says nothing.
func nothingMore(t *testing.T, c *chaos, leg legID) {
	if left := c.stepsOf(t, leg); len(left) > 0 {
		t.Errorf("after leg %s there is left: %v", leg, left)
	}
}

// acknowledgedKept reads back what was acknowledged by then, on paths that
// are still written to as well.
func acknowledgedKept(t *testing.T, c *chaos) {
	k := c.pg.kube(t, c.pg.api("cp1"))
	for _, w := range slices.Concat(c.writers, c.prober.writers()) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := w.checkSoFar(ctx, k)
		cancel()
		if err != nil {
			t.Error(err)
		}
		t.Log(w)
	}
}

// endpointFollowed: nodes and configuration lead to the endpoint.
func endpointFollowed(t *testing.T, c *chaos) {
	url := "https://" + c.pg.endpoint()
	if server := c.clusterInfoServer(t); server != url {
		t.Errorf("cluster-info names %s, not %s", server, url)
	}
	c.nodesTalkTo(t, c.pg.endpoint())
}

// nodesTalkTo looks at the sockets of the workers.
func (c *chaos) nodesTalkTo(t *testing.T, address string) {
	t.Helper()
	k := c.pg.kube(t, c.pg.api("cp1"))
	for _, name := range append(workers(), "cp1") {
		eventually(t, settle, name+" to be Ready", func(ctx context.Context) error { return nodeReady(ctx, k, name) })
	}
	for _, w := range workers() {
		for _, process := range []string{"kubelet", "kube-proxy"} {
			if err := poll(t.Context(), settle, func(ctx context.Context) error {
				return c.pg.hosts[w].talksOnlyTo(ctx, process, c.pg.reach(address), 6443)
			}); err != nil {
				t.Errorf("sockets: %v", err)
			}
		}
	}
}

// oneMember: etcd is on the first control-plane node, with the history that
// it had, and nowhere else.
func oneMember(t *testing.T, c *chaos) {
	e := c.pg.etcdOn(t, c.pg.hosts["cp1"], "127.0.0.1")
	r, err := e.MemberList(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Members) != 1 || r.Members[0].IsLearner || r.Members[0].Name != "cp1" {
		t.Errorf("the members are %v, not cp1 alone", r.Members)
	}
	if err := sameHistory(soon(t), map[string]*clientv3.Client{"cp1": e}, c.before.registry.cluster); err != nil {
		t.Error(err)
	}
	if after := dumpRegistry(t, e); after.revision < c.before.registry.revision {
		t.Errorf("the revision went back from %d to %d", c.before.registry.revision, after.revision)
	}
	for _, name := range etcdHosts() {
		if out := c.pg.hosts[name].must(t, "pgrep -ax etcd; systemctl is-enabled etcd.service 2>/dev/null | grep -x enabled; true"); out != "" {
			t.Errorf("%s still has something of etcd:\n%s", name, out)
		}
	}
	if command := c.apiServerCommand(t); command != c.was {
		t.Errorf("the API server runs with other arguments than before:\n%s", strings.Join(differingLines(c.was, command), "\n"))
	}
}

// oneControlPlane: the two others are no nodes any more, and nobody is sent
// to them.
func oneControlPlane(t *testing.T, c *chaos) {
	k := c.pg.kube(t, c.pg.endpoint())
	nodes, err := k.CoreV1().Nodes().List(soon(t), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range nodes.Items {
		names = append(names, n.Name)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"cp1", "w1", "w2"}) {
		t.Errorf("the nodes are %v, not cp1, w1 and w2", names)
	}
	eventually(t, settle, "one API server behind the kubernetes Service", func(ctx context.Context) error {
		slice, err := k.DiscoveryV1().EndpointSlices("default").Get(ctx, "kubernetes", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(slice.Endpoints) != 1 || slice.Endpoints[0].Addresses[0] != c.pg.address("cp1") {
			return fmt.Errorf("behind it are %v", slice.Endpoints)
		}
		return nil
	})
	for _, name := range []string{"cp2", "cp3"} {
		if out := c.pg.hosts[name].must(t, "pgrep -ax 'kubelet|kube-.*'; ls /etc/kubernetes/manifests 2>/dev/null; true"); out != "" {
			t.Errorf("%s still has something of Kubernetes:\n%s", name, out)
		}
	}
}
