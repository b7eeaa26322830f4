package initspec

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"hamigrate/migrate/cluster"
)

// twoWorkers is a cluster of cp1, w1 and w2, which has an ExternalIP.
func twoWorkers(t *testing.T) Found {
	t.Helper()
	return found(t, func(c *fake) {
		w2 := madeNode("w2", nil, "10.0.0.32")
		w2.Status.Addresses = append(w2.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: "203.0.113.32"})
		c.nodes["w2"] = w2
	})
}

// TestMatching: a host of the inventory is a Node by its addresses, whatever
// its name is.
func TestMatching(t *testing.T) {
	t.Parallel()
	f := twoWorkers(t)
	for name, test := range map[string]struct {
		m    Member
		node string
	}{
		"ansible_host":               {Member{Name: "worker1", SSHAddress: "10.0.0.31"}, "w1"},
		"ip":                         {Member{Name: "worker1", SSHAddress: "203.0.113.9", Address: "10.0.0.31"}, "w1"},
		"its name means it":          {Member{Name: "worker1", SSHAddress: "worker1", Known: []string{"10.0.0.31"}}, "w1"},
		"an ExternalIP":              {Member{Name: "worker1", SSHAddress: "203.0.113.32"}, "w2"},
		"what it has shown":          {Member{Name: "worker1", SSHAddress: "203.0.113.9", Known: []string{"192.0.2.9", "10.0.0.32"}, Asked: true}, "w2"},
		"the name of another":        {Member{Name: "w2", SSHAddress: "10.0.0.31"}, "w1"},
		"the first":                  {Member{Name: "control1", SSHAddress: "10.0.0.11"}, "cp1"},
		"the name alone":             {Member{Name: "W1", SSHAddress: "W1"}, "w1"},
		"the name, behind NAT":       {Member{Name: "w1", SSHAddress: "203.0.113.9"}, "w1"},
		"the name of another's host": {Member{Name: "w1", SSHAddress: "203.0.113.9", Known: []string{"192.0.2.9"}, Asked: true}, ""},
		"none":                       {Member{Name: "web", SSHAddress: "192.0.2.7"}, ""},
		"a forwarded port":           {Member{Name: "vm", SSHAddress: "10.0.0.11", Shared: true}, ""},
	} {
		for _, g := range []Groups{{Workers: []Member{test.m}}, {Others: []Group{{"boxes", []Member{test.m}}}}} {
			c := Choice{}
			if got := c.match(f, g)[test.m.Name]; got != test.node {
				t.Errorf("%s: %q, want %q", name, got, test.node)
			}
		}
	}
	// The names of the two are exchanged.
	c := Choice{}
	got := c.match(f, Groups{Workers: []Member{{Name: "w1", SSHAddress: "10.0.0.32"}, {Name: "w2", SSHAddress: "10.0.0.31"}}})
	if got["w1"] != "w2" || got["w2"] != "w1" || !strings.Contains(strings.Join(c.Notes, "\n"), "w1 is the Node w2, w2 is the Node w1") {
		t.Errorf("%v, %q", got, c.Notes)
	}
}

// TestUnknownGroups: with a cluster that was reached nothing depends on the
// names of groups.
func TestUnknownGroups(t *testing.T) {
	t.Parallel()
	f := twoWorkers(t)
	m := func(name, address, user string) Member { return Member{Name: name, SSHAddress: address, User: user} }
	c := FromInventory(f, Groups{
		File: "hosts",
		Others: []Group{
			{"boxes", []Member{m("a", "10.0.0.11", "ops"), m("b", "10.0.0.31", "ops")}},
			{"racks", []Member{m("c", "10.0.0.32", "admin")}},
			{"web", []Member{m("shop", "192.0.2.80", "www"), m("b", "10.0.0.31", "ops")}},
		},
		Reached: SSH{User: "root", Address: "10.0.0.11"}, ReachedName: "a",
	})
	if c.First != (SSH{User: "root"}) || c.SSH != (SSH{}) {
		t.Errorf("spec.ssh %+v, the first %+v", c.SSH, c.First)
	}
	if len(c.Workers) != 2 || c.Workers[0] != (Host{"w1", "10.0.0.31", SSH{User: "ops"}}) || c.Workers[1] != (Host{"w2", "10.0.0.32", SSH{User: "admin"}}) {
		t.Errorf("%+v", c.Workers)
	}
	all := strings.Join(c.Notes, "\n")
	if !strings.Contains(all, "of the group web was not read: shop. The group's name does not say what a host is for") ||
		strings.Contains(all, "group boxes") || !strings.Contains(all, "a is the Node cp1, b is the Node w1, c is the Node w2") {
		t.Errorf("notes:\n%s", all)
	}
}

// TestOneMachineTwice: an inventory may have the control-plane node under
// other names in other groups, and a member of etcd on a worker.
func TestOneMachineTwice(t *testing.T) {
	t.Parallel()
	f := twoWorkers(t)
	m := func(name, address string) Member { return Member{Name: name, SSHAddress: address} }
	c := FromInventory(f, Groups{
		ControlPlane:  []Member{m("control1", "10.0.0.11"), m("control2", "10.0.0.12"), m("w", "10.0.0.32")},
		Etcd:          []Member{m("etcd1", "10.0.0.11"), m("etcd2", "10.0.0.12"), m("etcd3", "10.0.0.31"), m("etcd4", "10.0.0.24")},
		LoadBalancers: []Member{m("control2", "10.0.0.12")},
		Workers:       []Member{m("worker1", "10.0.0.31"), m("w", "10.0.0.32"), m("old", "10.0.0.99")},
	})
	if len(c.Joining) != 2 || c.Joining[0].Name != "control2" || c.Joining[1] != (Host{}) {
		t.Errorf("joining %+v", c.Joining)
	}
	if len(c.Etcd) != 3 || c.Etcd[0].Name != "etcd4" || c.Etcd[1] != (Host{}) || c.LoadBalancers[0] != (Host{}) {
		t.Errorf("etcd %+v, load balancers %+v", c.Etcd, c.LoadBalancers)
	}
	all := strings.Join(c.Notes, "\n")
	for _, want := range []string{
		"has w as control-plane node that joins, which is the Node w2", "has etcd1 as member of etcd, which is a control-plane node",
		"has etcd2 as member of etcd, which has another part already", "has etcd3 as member of etcd, which is the Node w1",
		"has control2 as load balancer, which has another part already", "they are left out: old",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no note %q in:\n%s", want, all)
		}
	}
	if _, err := Write("migrate.yaml", f, c); err != nil {
		t.Error(err)
	}
}

// TestForwardedPorts: hosts that differ by the port alone are told apart by
// what they show. Each shows the address of the machine's own network, and two
// that of containers.
func TestForwardedPorts(t *testing.T) {
	t.Parallel()
	f := twoWorkers(t)
	m := func(name string, port int, shown ...string) Member {
		return Member{Name: name, SSHAddress: "127.0.0.1", Port: port, Known: shown, Asked: true}
	}
	g := Groups{
		ControlPlane: []Member{m("control1", 2201), m("control2", 2202, "10.0.2.15", "10.0.0.12")},
		Workers:      []Member{m("worker1", 2203, "10.0.2.15", "10.0.0.31", "172.17.0.1"), m("worker2", 2204, "10.0.2.15", "10.0.0.32")},
		ReachedName:  "control1",
	}
	f.First.Shown = []string{"10.0.2.15", "10.0.0.11", "172.17.0.1"}
	g.MarkShared()
	c := FromInventory(f, g)
	if c.First != (SSH{Address: "127.0.0.1", Port: 2201}) || len(c.Workers) != 2 || c.Workers[0] != (Host{"w1", "10.0.0.31", SSH{Address: "127.0.0.1", Port: 2203}}) {
		t.Errorf("first %+v, workers %+v", c.First, c.Workers)
	}
	if c.Joining[0] != (Host{"control2", "10.0.0.12", SSH{Address: "127.0.0.1", Port: 2202}}) {
		t.Errorf("joining %+v", c.Joining)
	}
	if len(g.Workers[0].Known) != 3 || len(f.First.Shown) != 3 {
		t.Error("what the caller has was changed")
	}
}

// TestExternalAddress: a Node's ExternalIP, which the inventory's name means, is
// no address of two hosts. What two Nodes have tells nobody apart.
func TestExternalAddress(t *testing.T) {
	t.Parallel()
	f := twoWorkers(t)
	f.Workers[0].Known = []string{"203.0.113.21", "203.0.113.99"}
	f.Workers[1].Known = []string{"203.0.113.22", "203.0.113.99"}
	g := Groups{
		Workers: []Member{{Name: "blue", SSHAddress: "blue.example", Known: []string{"203.0.113.21"}}, {Name: "red", SSHAddress: "red.example", Known: []string{"203.0.113.99"}}},
		Etcd:    []Member{{Name: "store", SSHAddress: "store.example", Known: []string{"203.0.113.22"}}, {Name: "e2", Address: "10.0.0.22"}, {Name: "e3", Address: "10.0.0.23"}},
	}
	c := FromInventory(f, g)
	if len(c.Workers) == 0 || c.Workers[0].SSH.Address != "blue.example" {
		t.Errorf("blue is not known as w1: %+v %q", c.Workers, c.Notes)
	}
	for _, w := range c.Workers {
		if w.SSH.Address == "red.example" {
			t.Errorf("red is known by an address of two Nodes: %+v", c.Workers)
		}
	}
	for _, e := range c.Etcd {
		if e.SSH.Address == "store.example" {
			t.Errorf("the worker w2 is offered as an etcd host: %+v", c.Etcd)
		}
	}
}

// TestTwoNamesOfOneHost: a machine that the inventory has twice is known by what
// both show.
func TestTwoNamesOfOneHost(t *testing.T) {
	t.Parallel()
	f := twoWorkers(t)
	m := func(name string) Member {
		return Member{Name: name, SSHAddress: name + ".example", Known: []string{"10.0.0.31", "192.168.7.31"}, Asked: true}
	}
	c := FromInventory(f, Groups{Workers: []Member{m("worker1"), m("rack7")}, LoadBalancers: []Member{{Name: "lb1", Address: "10.0.0.5"}}})
	if len(c.Workers) != 2 || c.Workers[0] != (Host{"w1", "10.0.0.31", SSH{Address: "worker1.example"}}) {
		t.Errorf("%+v %q", c.Workers, c.Notes)
	}
}

// TestWriteMends: what the loader of specs refuses is a blank and a note, and
// the rest of the inventory is of use.
func TestWriteMends(t *testing.T) {
	t.Parallel()
	f := twoWorkers(t)
	c := FromInventory(f, Groups{
		File:          "hosts",
		Endpoint:      "10.0.0.11:99999",
		ControlPlane:  []Member{{Name: "control1", SSHAddress: "10.0.0.11"}, {Name: "control_2", SSHAddress: "10.0.0.12"}, {Name: "10.0.0.13", SSHAddress: "10.0.0.13"}},
		Etcd:          []Member{{Name: "e1", SSHAddress: "127.0.0.1"}, {Name: "e2", SSHAddress: "10.0.0.22", Port: 70000, User: "a b"}},
		LoadBalancers: []Member{{Name: "lb1", SSHAddress: "10.0.0.5", IdentityFile: "~other/key"}},
	})
	spec, err := Write("migrate.yaml", f, c)
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, b := range spec.Blanks {
		fields = append(fields, b.Field)
	}
	const want = "spec.endpoint spec.etcd.hosts[0].address spec.etcd.hosts[2].name spec.etcd.hosts[2].address spec.controlPlane.joining[0].name spec.controlPlane.joining[1].name"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("blanks: %s", got)
	}
	all := strings.Join(spec.Choice.Notes, "\n")
	for _, want := range []string{`"control_2" is not a host name`, `"99999" is not a port`, `"a b" is not a user name`, "70000 is not a number from 1 to 65535", "~other/key"} {
		if !strings.Contains(all, want) || !strings.Contains(string(spec.Data), want) {
			t.Errorf("no note %q in:\n%s\n%s", want, all, spec.Data)
		}
	}
	if _, err := cluster.ParseBytes("migrate.yaml", spec.Data); err == nil {
		t.Error("with blanks it is a spec")
	}
}

// TestEndpointThatIsThere: a name that means the control-plane node is no way
// through a load balancer yet.
func TestEndpointThatIsThere(t *testing.T) {
	t.Parallel()
	for endpoint, test := range map[string]struct{ means, note string }{
		"cluster-endpoint:6443": {"10.0.0.11 STREAM cluster-endpoint\n10.0.0.11 DGRAM\n", "that name means 10.0.0.11, which is cp1 itself"},
		"loop.example:6443":     {"127.0.1.1 STREAM loop.example\n", "that name means 127.0.1.1, which is cp1 itself"},
		"lb.example:6443":       {"10.0.0.5 STREAM lb.example\n", "if that name can be pointed to the load balancer"},
		"10.0.0.11:6443":        {"", "10.0.0.11:6443 already, which is cp1 itself and ends with it"},
		"nobody.example:6443":   {"", "if that name can be pointed to the load balancer"},
	} {
		f := found(t, func(c *fake) {
			c.config += "controlPlaneEndpoint: " + endpoint + "\ncertificatesDir: /etc/kubernetes/ssl\n"
			c.host.OnRun("^getent ahostsv4 ", func(string, []byte) (string, error) { return test.means, nil })
		})
		all := strings.Join(f.Notes, "\n")
		if !strings.Contains(all, test.note) || !strings.Contains(all, "certificates in /etc/kubernetes/ssl") {
			t.Errorf("%s: %s", endpoint, all)
		}
	}
}
