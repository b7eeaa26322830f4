package inventory

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const iniText = `# how we reach them
cp1 ansible_host=10.0.0.11 ansible_user=root ip=192.168.0.11
node[01:03].example ansible_host="ignored by the group below"
bastion.example:2222

[kube_control_plane]
cp1
cp[2:3] ansible_host=10.0.0.12   ; no comment for Ansible, so a mistake

[etcd]
`

// both are the same inventory in the two forms.
//
// Long: the two are read side by side.
func both() map[string]string {
	return map[string]string{
		"hosts.ini": `# how we reach them
cp1 ansible_host=10.0.0.11 ip=192.168.0.11 ansible_user=root # the first one

[kube_control_plane]
cp[1:3]

[etcd]
e[a:c].example ansible_port=2222

[kube-node:children]
kube_control_plane
racks

[racks:children]
rack1
rack2
[rack1]
w01
[rack2]
w[02:03]

[racks:vars]
ansible_user=racks
ansible_ssh_private_key_file = ~/.ssh/racks
[rack2:vars]
ansible_user = "rack-two"

[lb]
lb1:2200 ansible_host=10.0.0.5

[all:vars]
ansible_user=ops
ansible_become=yes
ansible_ssh_common_args='-o ProxyJump=jump@bastion.example:2222 -o ControlMaster=auto -C'
`,
		"hosts.yml": `all:
  vars:
    ansible_user: ops
    ansible_become: true
    ansible_ssh_common_args: -o ProxyCommand="ssh -W %h:%p -q -p 2222 jump@bastion.example" -oControlMaster=auto
  hosts:
    cp1: {ansible_host: 10.0.0.11, ip: 192.168.0.11, ansible_user: root}
    cp2:
    cp3: {}
  children:
    kube_control_plane:
      hosts: {cp1: , cp2: , cp3: }
    etcd:
      hosts:
        e[a:c].example:
          ansible_port: 2222
    kube_node:
      children:
        kube_control_plane:
        racks:
          vars: {ansible_user: racks, ansible_ssh_private_key_file: ~/.ssh/racks}
          children:
            rack1: {hosts: {w01: null}}
            rack2:
              hosts: {"w[02:03]": }
              vars: {ansible_user: rack-two}
    lb:
      hosts:
        lb1: {ansible_host: 10.0.0.5, ansible_port: 2200}
`,
	}
}

func TestBothForms(t *testing.T) {
	t.Parallel()
	const jump = "jump@bastion.example:2222"
	etcd := func(name string) Host {
		return Host{Name: name, SSHAddress: name, User: "ops", Port: 2222, ProxyJump: jump}
	}
	worker := func(name, user string) Host {
		return Host{Name: name, SSHAddress: name, User: user, IdentityFile: "~/.ssh/racks", ProxyJump: jump}
	}
	want := Inventory{
		ControlPlane: []Host{
			{Name: "cp1", Address: "192.168.0.11", SSHAddress: "10.0.0.11", User: "root", ProxyJump: jump},
			{Name: "cp2", SSHAddress: "cp2", User: "ops", ProxyJump: jump},
			{Name: "cp3", SSHAddress: "cp3", User: "ops", ProxyJump: jump},
		},
		Etcd:          []Host{etcd("ea.example"), etcd("eb.example"), etcd("ec.example")},
		Workers:       []Host{worker("w01", "racks"), worker("w02", "rack-two"), worker("w03", "rack-two")},
		LoadBalancers: []Host{{Name: "lb1", SSHAddress: "10.0.0.5", User: "ops", Port: 2200, ProxyJump: jump}},
	}
	for file, text := range both() {
		got, err := Parse(file, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		want.File = file
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", file, diff)
		}
	}
}

// TestNotTakenOver: everything that means something and cannot be in a spec
// is said.
func TestNotTakenOver(t *testing.T) {
	t.Parallel()
	const text = `[kube_control_plane]
cp1 ansible_become_method=doas ansible_connection=local ansible_user="{{ login }}" ansible_port=ssh
cp2 ansible_user=ops ansible_become=no
[kube_control_plane:vars]
ansible_become_password=swordfish
ansible_ssh_extra_args=-o StrictHostKeyChecking=no -F other -o ProxyCommand="nc -x socks %h %p"
`
	got, err := Parse("hosts", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(got.Notes, "\n")
	for _, want := range []string{
		"ansible_become_password is not taken over", "ansible_become_method of cp1 is \"doas\"", "ansible_connection of cp1 is \"local\"",
		"ansible_user of cp1 is made by a template", `ansible_port "ssh" of cp1 is not a port`, "ansible_become of cp2 is off",
		"ansible_ssh_extra_args sets StrictHostKeyChecking, -F, ProxyCommand, which is not taken over",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no note %q in:\n%s", want, all)
		}
	}
	for _, secret := range []string{"swordfish", "socks", "other", "login"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is in the notes, and may be a password:\n%s", secret, all)
		}
	}
	if h := got.ControlPlane[0]; h.User != "" || h.ProxyJump != "" || h.Port != 0 {
		t.Errorf("taken over: %+v", h)
	}
}

func TestYAMLNotTakenOver(t *testing.T) {
	t.Parallel()
	const text = `all:
  vars: &v
    ansible_user: !vault |
      $ANSIBLE_VAULT;1.1;AES256
      6162
    loadbalancer_apiserver: {address: 10.0.0.5, port: 8443}
  children:
    kube_control_plane: {hosts: {cp1: {x: *v}, cp2: &h {ip: 10.0.0.12}, cp3: *h}, more: {a: b}}
`
	got, err := Parse("hosts.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(got.Notes, "\n")
	for _, want := range []string{"ansible_user of cp1 is locked by a vault", "the alias *v is not followed", "hosts.yaml:8: the alias *h is not followed", "more of the group kube_control_plane"} {
		if !strings.Contains(all, want) {
			t.Errorf("no note %q in:\n%s", want, all)
		}
	}
	if got.Endpoint != "10.0.0.5:8443" || got.ControlPlane[0].User != "" {
		t.Errorf("%+v", got)
	}
}

// TestMistakes: each with its file and line.
func TestMistakes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ file, text, says string }{
		"no host":          {"h", "[web]\n", "the inventory h has no host"},
		"an escape":        {"h", "a\x1b]0;b\n", `"a\x1b]0;b" is no name of a host`},
		"binary":           {"h", "a\x00b", "h is no text"},
		"no JSON":          {"h", "{\"all\": {\"hosts\"", "h:"},
		"JSON of a scalar": {"h", "{\"all\": {\"hosts\": 1}}", "h: hosts of the group all is a mapping"},
		"an open section":  {"h", "\n[web\n", `h:2: "[web"`},
		"a kind":           {"h", "[web:kids]\n", "h:1: [web:kids]"},
		"a range":          {"h", "[web]\nn[3:1]\n", `h:2: "n[3:1]": from "3" to "1" is no range`},
		"a huge range":     {"h", "n[1:99999999999]\n", "is no range"},
		"two huge ranges":  {"h", "n[1:9999][1:9999]\n", "more than 10000 hosts"},
		"an open range":    {"h", "n[1\n", "a range is [first:last]"},
		"a quote":          {"h", "cp1 a='b\n", "is not closed"},
		"a word":           {"h", "cp1 cp2\n", `"cp2" behind the host cp1`},
		"no variable":      {"h", "[all:vars]\nx\n", "h:2:"},
		"no YAML":          {"h.yml", "a: [", "h.yml:"},
		"a list of groups": {"h.yml", "- a\n", "an inventory is a mapping of groups"},
		"hosts of text":    {"h.yml", "all:\n  hosts: a\n", "h.yml:2: hosts of the group all is a mapping"},
		"a group of text":  {"h.yml", "all: text\n", "h.yml:1: the group all"},
		"a bad range":      {"h.yml", "all:\n  hosts:\n    \"n[1\": {}\n", "h.yml:3:"},
	} {
		if _, err := Parse(test.file, []byte(test.text)); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v does not say %q", name, err, test.says)
		}
	}
	_, err := Parse("h", []byte(iniText))
	if err == nil || !strings.Contains(err.Error(), `h:8: ";" behind the host cp[2:3]`) {
		t.Errorf("got %v", err)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for file, says := range map[string]string{
		filepath.Join(dir, "absent"):                      "there is no inventory",
		t.TempDir():                                       "has no file with hosts",
		write("dynamic.py", "#!/bin/python3"):             "is a program, which is not started here; write down",
		write("locked", vaultMark+";1.1;AES256\n6162\n"):  "is locked by ansible-vault as a whole; unlock it",
		write("huge", strings.Repeat("x\n", maxSize/2+1)): "has more than 8 MiB",
		"/dev/zero": "/dev/zero has more than 8 MiB",
	} {
		if _, err := (Reader{}).Read(t.Context(), file); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		"n1": "n1", "n[1:3]": "n1 n2 n3", "n[08:10].x": "n08.x n09.x n10.x", "n[1:6:2]": "n1 n3 n5",
		"r[a:b]n[1:2]": "ran1 ran2 rbn1 rbn2", "n[:2]": "n0 n1 n2",
	} {
		got, err := expand(pattern)
		if err != nil || !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: %v, %v", pattern, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for file, text := range both() {
		f.Add(filepath.Ext(file) == ".yml", text)
	}
	f.Add(true, "a: &a\n  children: *a\n")
	f.Add(false, "[web]\na\n[kube-master]\nb ansible_port=99999\n")
	f.Add(false, `{"_meta":{"hostvars":{"a":{"x":[1,{"y":null}]}}},"web":["a"]}`)
	f.Add(false, "[a:children]\nb\n[b:children]\na\n[kube_control_plane:children]\na\n")
	f.Fuzz(func(t *testing.T, yaml bool, text string) {
		file := "hosts"
		if yaml {
			file += ".yml"
		}
		got, err := Parse(file, []byte(text))
		if err == nil && len(got.All()) == 0 {
			t.Errorf("accepted without a host: %+v", got)
		}
	})
}
