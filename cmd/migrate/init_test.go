package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/urfave/cli/v2"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/initlook"
	"hamigrate/migrate/initspec"
	"hamigrate/migrate/inventory"
	"hamigrate/phases/simulator"
)

// initOn does what `migrate init` does when it is connected, on a cluster in
// memory, and returns what it printed.
func initOn(t *testing.T, w *simulator.World, file, format string, groups *initspec.Groups) (string, error) {
	t.Helper()
	var out bytes.Buffer
	app := newApp()
	app.Writer, app.ErrWriter = &out, &out
	app.ExitErrHandler = func(*cli.Context, error) {}
	initCmd := app.Command("init")
	initCmd.Action = func(c *cli.Context) error {
		host := w.Machine("cp1")
		live := initlook.NewLive(host, func(string) func() { return func() {} })
		defer live.Close()
		found, err := initspec.Look(c.Context, host, live)
		if err != nil {
			return err
		}
		choice := initspec.Blank(found, initspec.SSH{User: "ops", Address: "cp1"})
		if groups != nil {
			choice = initspec.FromInventory(found, *groups)
		}
		return writeSpec(c, file, found, choice)
	}
	err := app.RunContext(t.Context(), []string{"migrate", "init", "-o", format, "ops@cp1"})
	return out.String(), err
}

// TestInit looks at a whole cluster, and the file that it writes is a spec as
// soon as its blanks are filled in.
func TestInit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		file := filepath.Join(dir, "migrate.yaml")
		text, err := initOn(t, w, file, "text", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"cp1 is the control-plane node of a kubeadm cluster with Kubernetes v1.", "10.88.0.11:6443, control-plane endpoint: none",
			"one member (cp1)", "peer URL https://127.0.0.1:2380", "node        w1 10.88.0.31, ", ", Ready",
			"13 blanks in it are yours to fill in:", "spec.endpoint\n", "spec.etcd.hosts[2].address\n",
			"1. fill in the 13 blanks of " + file, "2. migrate preflight --file " + file, "Nothing was changed on the cluster.",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in:\n%s", want, text)
			}
		}
		if broken := w.Broken(); len(broken) > 0 {
			t.Errorf("the cluster: %v", broken)
		}
		if ops := w.Faults.Ops(); len(ops) > 0 {
			t.Errorf("looking has changed: %v", ops)
		}
		filledIn(t, file)

		before := readText(t, file)
		if _, err := initOn(t, w, file, "text", nil); err == nil || !strings.Contains(err.Error(), "is there already") {
			t.Errorf("a second one: %v", err)
		}
		if readText(t, file) != before {
			t.Error("the file was changed")
		}
	})
}

// filledIn has a person fill in every blank, and loads the result.
func filledIn(t *testing.T, file string) {
	t.Helper()
	_, err := cluster.Parse(file)
	if err == nil || strings.Count(err.Error(), "\n") != 12 || strings.Count(err.Error(), "has no value; ") != 13 {
		t.Errorf("with blanks it is loaded: %v", err)
	}
	text := readText(t, file)
	for _, value := range []string{"10.88.0.5:6443", "lb1", "10.88.0.5", "e1", "10.88.0.21", "e2", "10.88.0.22", "e3", "10.88.0.23", "cp2", "10.88.0.12", "cp3", "10.88.0.13"} {
		text = strings.Replace(text, ": # FILL IN", ": "+value+" # filled", 1)
	}
	spec, err := cluster.ParseBytes(file, []byte(text))
	if err != nil {
		t.Fatalf("filled in, it is no spec: %v\n%s", err, text)
	}
	first := spec.ControlPlane.First
	if first.Name != "cp1" || first.Address != "10.88.0.11" || first.SSH.Address != "cp1" || first.SSH.User != "ops" {
		t.Errorf("first is %+v", first)
	}
	if spec.Workers != nil || spec.Name != "cp1" || spec.SSH.User != "ops" {
		t.Errorf("%+v", spec)
	}
}

// TestInitFromInventory: a complete inventory leaves no blank but those that
// it cannot fill, and JSON tells all that text does.
func TestInitFromInventory(t *testing.T) {
	t.Parallel()
	const hosts = `[kube_control_plane]
cp1 ansible_host=10.88.0.11
cp2 ansible_host=203.0.113.12 ip=10.88.0.12
cp3 ansible_host=10.88.0.13
[etcd]
cp1
e1 ansible_host=10.88.0.21
e2 ansible_host=10.88.0.22 ansible_user=admin ansible_port=2222
[kube_node]
w1 ansible_host=10.88.0.31
w2 ansible_host=203.0.113.32
w9 ansible_host=10.88.0.99
[lb]
lb1 ansible_host=10.88.0.5
[all:vars]
ansible_user=ops
ansible_become=true
[kube_node:vars]
ansible_ssh_common_args=-J jump@bastion
`
	inv, err := inventory.Parse("hosts.ini", []byte(hosts))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t)
		defer w.Close()
		file := filepath.Join(dir, "migrate.yaml")
		text, err := initOn(t, w, file, "json", initlook.Groups(inv))
		if err != nil {
			t.Fatal(err)
		}
		var r initlook.Result
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		var blanks []string
		for _, b := range r.Blanks {
			blanks = append(blanks, b.Field)
		}
		if got := strings.Join(blanks, " "); got != "spec.endpoint spec.etcd.hosts[2].name spec.etcd.hosts[2].address" {
			t.Errorf("blanks: %s", got)
		}
		notes := strings.Join(r.Notes, "\n")
		for _, want := range []string{"has cp1 as member of etcd, which is a control-plane node", "workers that are no Node of the cluster, by address and by name; they are left out: w9"} {
			if !strings.Contains(notes, want) {
				t.Errorf("no note %q in:\n%s", want, notes)
			}
		}
		if len(r.Jumps) != 1 || r.Jumps[0].Via != "jump@bastion" || r.Found.First.Name != "cp1" || r.Found.Etcd.Bytes == 0 {
			t.Errorf("%+v", r)
		}
		checkFromInventory(t, file)
	})
}

func checkFromInventory(t *testing.T, file string) {
	t.Helper()
	text := readText(t, file)
	for _, value := range []string{"api.example.net:6443", "e3", "10.88.0.23"} {
		text = strings.Replace(text, ": # FILL IN", ": "+value+" # filled", 1)
	}
	spec, err := cluster.ParseBytes(file, []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	e2, cp2 := spec.Etcd.Hosts[1], spec.ControlPlane.Joining[0]
	if e2.SSH.User != "admin" || e2.SSH.Port != 2222 || e2.Address != "10.88.0.22" || spec.SSH.User != "ops" {
		t.Errorf("e2 is %+v, spec.ssh %+v", e2, spec.SSH)
	}
	if cp2.Address != "10.88.0.12" || cp2.SSH.Address != "203.0.113.12" {
		t.Errorf("cp2 is %+v", cp2)
	}
	if len(spec.Workers) != 2 || spec.Workers[1].Address != "10.88.0.32" || spec.Workers[1].SSH.Address != "203.0.113.32" {
		t.Errorf("workers are %+v", spec.Workers)
	}
	if !strings.Contains(text, "#   Host w1 10.88.0.31 w2 203.0.113.32\n") || !strings.Contains(text, "#     ProxyJump jump@bastion\n") {
		t.Errorf("no lines for ~/.ssh/config in:\n%s", text)
	}
}

// TestInitFromForms: the forms of inventories that people have, on one
// cluster. Names are those of the Nodes, whatever the inventory says.
func TestInitFromForms(t *testing.T) {
	t.Parallel()
	for form, workers := range map[string]string{
		"tutorial": "", "yaml": "", "dashes.ini": "", "list": "w1 0 w2 0", "list.json": "w1 0 w2 0", "folder": "w1 2222 w2 2222", "masters": "w1 0 w2 0",
	} {
		inv, err := inventory.Reader{}.Read(t.Context(), filepath.Join("..", "..", "migrate", "inventory", "testdata", form))
		if err != nil {
			t.Fatal(err)
		}
		groups := initlook.Groups(inv)
		groups.Each(func(m initspec.Member) initspec.Member { // as resolveMembers does it
			m.Known = map[string][]string{"worker1": {"10.88.0.31"}, "worker2": {"10.88.0.32"}}[m.SSHAddress]
			return m
		})
		dir := t.TempDir()
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := simulator.New(t)
				defer w.Close()
				file := filepath.Join(dir, "migrate.yaml")
				if _, err := initOn(t, w, file, "json", groups); err != nil {
					t.Fatal(err)
				}
				text := readText(t, file)
				for i, value := range []string{"10.88.0.5:6443", "lb1", "10.88.0.5", "e1", "10.88.0.21", "e2", "10.88.0.22", "e3", "10.88.0.23", "cp2", "10.88.0.12", "cp3", "10.88.0.13"} {
					if form != "folder" || i < 3 || i > 8 { // which has the members of etcd
						text = strings.Replace(text, ": # FILL IN", ": "+value+" # filled", 1)
					}
				}
				spec, err := cluster.ParseBytes(file, []byte(text))
				if err != nil {
					t.Fatalf("%v\n%s", err, text)
				}
				if first := spec.ControlPlane.First; first.Name != "cp1" || first.Address != "10.88.0.11" {
					t.Errorf("first is %+v", first)
				}
				var got []string
				for _, h := range spec.Workers {
					got = append(got, fmt.Sprintf("%s %d", h.Name, h.SSH.Port))
				}
				if got := strings.Join(got, " "); got != workers {
					t.Errorf("workers: %s, want %s in\n%s", got, workers, text)
				}
			})
		})
	}
}

func readText(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
