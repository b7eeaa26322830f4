package inventory

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// listed is an inventory's hosts on a line each, for comparing.
func summary(inv Inventory) string {
	var b strings.Builder
	list := func(what string, hosts []Host) {
		for _, h := range hosts {
			fmt.Fprintf(&b, "%s %s %s@%s:%d\n", what, h.Name, h.User, h.SSHAddress, h.Port)
		}
	}
	list("first", inv.ControlPlane)
	list("etcd", inv.Etcd)
	list("lb", inv.LoadBalancers)
	list("worker", inv.Workers)
	for _, g := range inv.Others {
		list("in "+g.Name, g.Hosts)
	}
	return b.String()
}

// forms are the files of testdata, and what is in them.
func forms() map[string]struct{ want, note string } {
	const tutorial = "first control1 root@10.88.0.11:0\nworker worker1 root@10.88.0.31:0\nworker worker2 root@10.88.0.32:0\n"
	const list = "first control1 root@10.88.0.11:22\nworker worker1 root@10.88.0.31:0\nworker worker2 @10.88.0.32:0\n"
	return map[string]struct{ want, note string }{
		"tutorial":   {want: tutorial},
		"yaml":       {want: tutorial},
		"masters":    {want: "first master ops@10.88.0.11:0\nworker worker1 root@worker1:0\nworker worker2 root@worker2:0\n"},
		"dashes.ini": {want: "first m1 @10.88.0.11:0\netcd m1 @10.88.0.11:0\nworker n1 @10.88.0.31:0\nworker n2 @10.88.0.32:0\n"},
		"list.json":  {list, "ansible_user of worker2 is made by a template"},
		"list":       {list, "ansible_password is not taken over"},
		"folder": {"first control1 ops@10.88.0.11:0\netcd e1 ops@10.88.0.21:0\netcd e2 ops@10.88.0.22:0\netcd e3 ops@10.88.0.23:0\n" +
			"worker worker1 ops@10.88.0.31:2222\nworker worker2 root@10.88.0.32:2222\n", "40-cloud.sh is a program and was not started"},
	}
}

// TestForms: the forms in which people keep their inventories, read by
// ourselves, and as ansible-inventory gives them where it is installed.
func TestForms(t *testing.T) {
	t.Parallel()
	readers := map[string]Reader{"own": {}}
	if program, err := exec.LookPath("ansible-inventory"); err == nil {
		readers["Ansible's"] = Reader{program}
	}
	for file, test := range forms() {
		for name, r := range readers {
			t.Run(file+" by "+name, func(t *testing.T) {
				t.Parallel()
				inv, err := r.Read(t.Context(), filepath.Join("testdata", file))
				if err != nil {
					t.Fatal(err)
				}
				if got := summary(inv); got != test.want {
					t.Errorf("got\n%swant\n%s", got, test.want)
				}
				notes := strings.Join(inv.Notes, "\n")
				if !strings.Contains(notes, test.note) || test.note == "" && notes != "" {
					t.Errorf("notes: %q", notes)
				}
				if _, err := os.Stat("started"); err == nil {
					t.Error("a program in the folder was started")
				}
			})
		}
	}
}

// TestRoles: the names that widespread tutorials and tools give groups.
func TestRoles(t *testing.T) {
	t.Parallel()
	for want, names := range map[role]string{
		controlPlane: "kube_control_plane kube-control-plane kube-master kube_masters kubernetes_master k8s-masters master masters Masters controlplane control_plane control-plane control_plane_nodes master-nodes masternodes controllers kube_controllers k8s_controlplane kubemaster",
		worker:       "kube_node kube-node kube_nodes node nodes worker workers k8s-workers worker_nodes kubeworkers minions kubernetes_nodes",
		etcd:         "etcd etcd_nodes etcd-hosts k8s_etcd etcd_cluster etcd_servers",
		balancer:     "loadbalancer loadbalancers load_balancer load_balancers lb lbs load-balancer k8s_lb",
		none:         "all ungrouped k8s-cluster k8s_cluster cluster web db boxes calico_rr bastion kubernetes first",
	} {
		for _, name := range strings.Fields(names) {
			if got := roleOf(name); got != want {
				t.Errorf("%s is taken for %q, want %q", name, got, want)
			}
		}
	}
}

// TestContent: a form is known by content, as Ansible tries one after the
// other, whatever the file is called.
func TestContent(t *testing.T) {
	t.Parallel()
	const host = "masters h.example"
	for name, test := range map[string]struct{ file, text string }{
		"INI in a .yml":            {"h.yml", "# ours\n[masters]\nh.example\n"},
		"YAML in an .ini":          {"h.ini", "masters:\n  hosts:\n    h.example:\n"},
		"YAML with ---":            {"h", "---\nmasters:\n  hosts: {h.example: }\n"},
		"YAML with a comment":      {"h", "# ours\n\nmasters: # the first\n  hosts: {h.example: }\n"},
		"YAML with a quoted group": {"h.prod", "\"masters\":\n  hosts: {h.example: }\n"},
		"a list of hosts":          {"h", "masters:\n  hosts: [h.example]\n"},
		"JSON in one line":         {"h.ini", `{"masters": {"hosts": {"h.example": {}}}}`},
		"JSON, the short form":     {"h", `{"masters": ["h.example"]}`},
		"a BOM":                    {"h", "\ufeff[masters]\nh.example\n"},
		"lines of Windows":         {"h", "[masters]\r\nh.example\r\n"},
		"hosts before groups":      {"h", "h.example\n[masters]\nh.example\n"},
		"a host with a port first": {"h", "h.example:22\n[masters]\nh.example\n"},
	} {
		inv, err := Parse(test.file, []byte(test.text))
		if err != nil || len(inv.ControlPlane) != 1 || "masters "+inv.ControlPlane[0].Name != host {
			t.Errorf("%s: %+v, %v", name, inv.ControlPlane, err)
		}
	}
}

// TestManyLevels: each group is visited once. 26 levels of two groups with
// the same two children are 2^26 ways to the host.
func TestManyLevels(t *testing.T) {
	t.Parallel()
	var ini, tree strings.Builder
	for level := range 60 {
		for _, side := range []string{"a", "b"} {
			fmt.Fprintf(&ini, "[%s%d:children]\na%d\nb%d\n", side, level, level+1, level+1)
			fmt.Fprintf(&tree, "%s%d: {children: {a%d: , b%d: }}\n", side, level, level+1, level+1)
		}
	}
	ini.WriteString("[kube_control_plane:children]\na0\n[a60]\nh\n[b60]\nh\n[b60:vars]\nansible_user=ops\n[a0:vars]\nansible_user=far\n")
	tree.WriteString("kube_control_plane: {children: {a0: }}\na60: {hosts: {h: }}\nb60: {hosts: {h: }, vars: {ansible_user: ops}}\na0: {vars: {ansible_user: far}}\n")
	for file, text := range map[string]string{"h": ini.String(), "h.yml": tree.String()} {
		begin := time.Now()
		inv, err := Parse(file, []byte(text))
		if err != nil || len(inv.ControlPlane) != 1 || inv.ControlPlane[0].User != "ops" || len(inv.Notes) != 0 {
			t.Errorf("%s: %+v, %v", file, inv, err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%s took %v", file, took)
		}
	}
}

// TestCycles are named, and what is in them is read all the same.
func TestCycles(t *testing.T) {
	t.Parallel()
	for text, note := range map[string]string{
		"[masters:children]\nrack\n[rack:children]\nrow\n[row:children]\nrack\n[row]\nh\n": "the groups rack > row > rack contain each other",
		"[masters:children]\nmasters\n[masters]\nh\n":                                      "the groups masters > masters contain each other",
	} {
		inv, err := Parse("h", []byte(text))
		if err != nil || len(inv.ControlPlane) != 1 || !strings.Contains(strings.Join(inv.Notes, "\n"), note) {
			t.Errorf("%q: %+v, %v", text, inv, err)
		}
	}
}

// TestNoControlPlane: the groups that are there are named, with their hosts,
// and the command is on a line of its own.
func TestNoControlPlane(t *testing.T) {
	t.Parallel()
	inv, err := Parse("hosts", []byte("[boxes]\na ansible_host=10.88.0.11 ansible_user=ops ansible_port=2222\nb\n[web:children]\nboxes\n[worker]\nw[1:9]\n"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `
  boxes: a (10.88.0.11), b
  known as worker: w1, w2, w3, w4, w5, w6 and 3 more
Name the control-plane node; where it is a:
  migrate init -i hosts ops@10.88.0.11:2222`
	got := inv.WithoutControlPlane("migrate init -i hosts ").Error()
	if !strings.Contains(got, "the inventory hosts has a name that says which host is the control-plane node") || !strings.HasSuffix(got, want) {
		t.Errorf("got:\n%s", got)
	}
}

// TestTwoGroupsOfOneKind: Kubespray's name counts, and what only the other one
// has is told.
func TestTwoGroupsOfOneKind(t *testing.T) {
	t.Parallel()
	inv, err := Parse("hosts", []byte("[masters]\njenkins\ncp1\n[kube_control_plane]\ncp1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := summary(inv); got != "first cp1 @cp1:0\nin masters jenkins @jenkins:0\n" {
		t.Errorf("got\n%s", got)
	}
	if len(inv.Notes) != 1 || !strings.Contains(inv.Notes[0], "the group masters was not read, for kube_control_plane is taken for the same; only it has jenkins") {
		t.Errorf("%q", inv.Notes)
	}
}

// TestSecretsStay: what people write into ssh's arguments is named and never
// copied (a ProxyCommand with the bastion's password).
func TestSecretsStay(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		`-o ProxyCommand="sshpass -p swordfish ssh -W %h:%p jump@bastion"`, `-oProxyCommand='nc --proxy-auth u:swordfish %h %p'`,
		`-o ProxyJump=u:swordfish@bastion`, `-J u:swordfish@bastion`, `-F swordfish`, `-iswordfish`, `-o "swordfish`,
		`-o ProxyCommand="sshpass -p {{ x | default('swordfish') }} ssh -W %h:%p b"`, `swordfish -o SendEnv=swordfish`, `-o swordfish=1 -o User=swordfish`,
	} {
		inv, err := Parse("h.yml", []byte("masters:\n  hosts:\n    cp1:\n      ansible_ssh_common_args: "+fmt.Sprintf("%q", args)+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		told := strings.Join(inv.Notes, "\n") + inv.ControlPlane[0].ProxyJump
		if args != `-o swordfish=1 -o User=swordfish` && strings.Contains(told, "swordfish") {
			t.Errorf("%s is told: %s", args, told)
		}
		if inv.ControlPlane[0].ProxyJump != "" || len(inv.Notes) == 0 {
			t.Errorf("%s: %+v", args, inv)
		}
	}
}

// TestAnsibleFails: whatever becomes of ansible-inventory, the inventory is
// read, or our own error says where the mistake is. Nothing that it prints of
// a mistake is told.
func TestAnsibleFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ script, note string }{
		"fails":          {"echo swordfish >&2; exit 4", "it ended with exit status 4"},
		"no JSON":        {"echo swordfish", "it printed no JSON"},
		"no hosts":       {`echo '{"_meta": {"hostvars": {}}, "all": {"children": ["ungrouped"]}}'`, "has no host"},
		"without end":    {"exec yes '            '", "more than 8 MiB"},
		"asks":           {`read -r x < /dev/tty || exit 5; sleep 60`, "it ended with exit status 5"},
		"a child stays":  {"sleep 1 & echo '{}'", ""},
		"works":          {`[ "$#" = 3 ] && [ -f "$2" ] && echo '{"_meta": {"hostvars": {"control1": {"ansible_host": "10.88.0.11"}}}, "masters": {"hosts": ["control1"]}}'`, ""},
		"is not started": {"", "could not be started"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), "ansible-inventory")
			if test.script != "" {
				if err := os.WriteFile(program, []byte("#!/bin/sh\n"+test.script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			inv, err := Reader{program}.Read(t.Context(), filepath.Join("testdata", "tutorial"))
			if err != nil || len(inv.ControlPlane) != 1 || inv.ControlPlane[0].SSHAddress != "10.88.0.11" {
				t.Fatalf("%+v, %v", inv, err)
			}
			notes := strings.Join(inv.Notes, "\n")
			if !strings.Contains(notes, test.note) || strings.Contains(notes, "swordfish") {
				t.Errorf("notes: %q", notes)
			}
		})
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := (Reader{"/bin/sh"}).Read(ctx, filepath.Join("testdata", "tutorial")); err == nil {
		t.Error("it went on after it was stopped")
	}
}
