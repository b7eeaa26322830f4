package initspec

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hamigrate/migrate/cluster"
)

var update = flag.Bool("update", false, "write the golden files again")

// found is what Look gives of newFake.
func found(t *testing.T, arrange func(*fake)) Found {
	t.Helper()
	c := newFake()
	if arrange != nil {
		arrange(c)
	}
	f, err := Look(t.Context(), c.host, c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestRender holds the file to what a person is to read, and the loader to a
// sentence for each blank.
func TestRender(t *testing.T) {
	t.Parallel()
	f := found(t, nil)
	data, err := Render(f, Blank(f, SSH{User: "ops", Port: 2222, Address: "cp1.example.net"}))
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "blank.yaml")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != string(data) {
		t.Errorf("%v; -update writes it again; got:\n%s", err, data)
	}
	blanks, err := Blanks("migrate.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	for _, b := range blanks {
		if !strings.Contains(lines[b.Line-1], fillIn) || !strings.Contains(b.What, "has no value; write ") {
			t.Errorf("%+v is told of line %q", b, lines[b.Line-1])
		}
	}
	if marked := strings.Count(string(data), ": # "+fillIn); marked != 13 || len(blanks) != 13 {
		t.Errorf("%d blanks are marked, the loader knows %d", marked, len(blanks))
	}
}

// TestRenderComplete: what is chosen is written so that the loader reads the
// same.
func TestRenderComplete(t *testing.T) {
	t.Parallel()
	f := found(t, func(c *fake) { c.nodes["w1"] = madeNode("w1", nil) })
	c := Choice{
		Endpoint: "api.example.net:6443", SSH: SSH{User: "1000", IdentityFile: "/key: a"}, First: SSH{Port: 23},
		LoadBalancers: []Host{{Name: "lb1", Address: "10.0.0.5"}},
		Etcd:          []Host{{Name: "e1", Address: "10.0.0.21"}, {Name: "e2", Address: "10.0.0.22"}, {Name: "e3", Address: "10.0.0.23", SSH: SSH{Address: "no"}}},
		Joining:       []Host{{Name: "cp2", Address: "10.0.0.12"}, {Name: "cp3", Address: "10.0.0.13"}},
		Workers:       []Host{{Name: "w1", Address: "10.0.0.31", SSH: SSH{User: "on", Port: 24}}},
	}
	data, err := Render(f, c)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := cluster.ParseBytes("/spec/migrate.yaml", data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if spec.Name != "flag-ship" || spec.SSH.User != "1000" || spec.SSH.IdentityFile != "/key: a" || spec.ControlPlane.First.SSH.Port != 23 ||
		spec.Etcd.Hosts[2].SSH.Address != "no" || spec.Workers[0].SSH.User != "on" || spec.Workers[0].SSH.Port != 24 {
		t.Errorf("%+v", spec)
	}
	if blanks, err := Blanks("migrate.yaml", data); err != nil || len(blanks) != 0 {
		t.Errorf("%v, %v", blanks, err)
	}
}

// TestRenderWorkers: a worker without an address is listed, as a blank.
func TestRenderWorkers(t *testing.T) {
	t.Parallel()
	f := found(t, func(c *fake) { c.nodes["w1"] = madeNode("w1", nil) })
	data, err := Render(f, Blank(f, SSH{Address: "10.0.0.11"}))
	if err != nil {
		t.Fatal(err)
	}
	blanks, err := Blanks("migrate.yaml", data)
	if err != nil || len(blanks) != 14 || blanks[13].Field != "spec.workers[0].address" {
		t.Errorf("%+v, %v", blanks, err)
	}
}

// TestMistakeIsNoBlank: what would be wrong, were it written, is an error.
func TestMistakeIsNoBlank(t *testing.T) {
	t.Parallel()
	f := found(t, nil)
	c := Blank(f, SSH{})
	c.Etcd[0] = Host{Name: "cp1", Address: "10.0.0.21"}
	data, err := Render(f, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Blanks("migrate.yaml", data); err == nil || !strings.Contains(err.Error(), "cp1 is the name of") {
		t.Errorf("got %v", err)
	}
}

// TestFromInventory: the places that an inventory cannot fill.
func TestFromInventory(t *testing.T) {
	t.Parallel()
	f := found(t, nil)
	m := func(name, address string) Member { return Member{Name: name, SSHAddress: address} }
	c := FromInventory(f, Groups{
		ControlPlane: []Member{m("CP2", "cp2.example"), m("cp1", "10.0.0.11")},
		Etcd:         []Member{m("cp1", "10.0.0.11"), m("e1", "10.0.0.21"), m("e2", "10.0.0.22"), m("e3", "10.0.0.23"), m("e4", "10.0.0.24")},
		Workers:      []Member{m("node1", "10.0.0.31")},
	})
	if len(c.Etcd) != 3 || c.Etcd[2].Name != "e3" || len(c.Joining) != 2 || c.Joining[0] != (Host{Name: "cp2", SSH: SSH{Address: "cp2.example"}}) || c.Joining[1] != (Host{}) {
		t.Errorf("%+v", c)
	}
	if len(c.LoadBalancers) != 1 || c.LoadBalancers[0] != (Host{}) || c.Workers != nil || c.First != (SSH{}) {
		t.Errorf("%+v", c)
	}
	all := strings.Join(c.Notes, "\n")
	for _, want := range []string{"has cp1 as member of etcd, which is a control-plane node", "has 4 hosts that could be members of etcd; the first 3", "names CP2 without an IP address"} {
		if !strings.Contains(all, want) {
			t.Errorf("no note %q in:\n%s", want, all)
		}
	}
	if c = FromInventory(f, Groups{ControlPlane: []Member{m("other", "10.9.9.9")}}); !strings.Contains(strings.Join(c.Notes, "\n"), "no host with an address of cp1 (10.0.0.11)") {
		t.Errorf("%q", c.Notes)
	}
}

// TestWhatAnInventoryDoesNotSay is left to ~/.ssh/config.
func TestWhatAnInventoryDoesNotSay(t *testing.T) {
	t.Parallel()
	f := found(t, nil)
	m := func(name, user string, port int) Member {
		address := "10.9.0." + name[len(name)-1:]
		if name == "lb1" {
			address = "10.9.0.5"
		}
		return Member{Name: name, Address: address, SSHAddress: address, User: user, Port: port}
	}
	first := m("cp1", "ops", 2222)
	c := FromInventory(f, Groups{
		ControlPlane:  []Member{first, m("cp2", "ops", 0), m("cp3", "ops", 2222)},
		LoadBalancers: []Member{m("lb1", "", 2222)},
	})
	if c.SSH != (SSH{}) || c.Joining[0].SSH != (SSH{User: "ops"}) || c.Joining[1].SSH != (SSH{User: "ops", Port: 2222}) || c.LoadBalancers[0].SSH != (SSH{Port: 2222}) {
		t.Errorf("%+v", c)
	}
	// It is reached at another address than the one it advertises.
	if want := (SSH{User: "ops", Port: 2222, Address: "10.9.0.1"}); c.First != want {
		t.Errorf("the first is reached by %+v, want %+v", c.First, want)
	}
	c = FromInventory(f, Groups{ControlPlane: []Member{first, m("cp2", "ops", 2222), m("cp3", "root", 2222)}})
	if c.SSH != (SSH{User: "ops", Port: 2222}) || c.Joining[0].SSH != (SSH{}) || c.Joining[1].SSH != (SSH{User: "root"}) {
		t.Errorf("%+v", c)
	}
}
