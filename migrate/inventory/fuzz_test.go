package inventory

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hamigrate/internal/within"
)

// FuzzINI, FuzzYAML and FuzzJSON: whatever is read has hosts that can be named
// and reached, none is lost, and what is read of it written again is the same.
func FuzzINI(f *testing.F) {
	f.Add(iniText)
	f.Add(both()["hosts.ini"])
	for _, line := range []string{
		"[all:vars]\nansible_user='ops'\n[master]\ncp[1:3] ansible_host=192.0.2.1 # first\n",
		"[a:children]\nb\n[b:children]\na\n[b]\nx\n",
		"[master]\nn[08:12:2]x[a:c] ansible_ssh_common_args='-J ops@192.0.2.9:2222'\n",
		"[master]\nn[X:b]\n",
		"[master]\nn[9223372036854775800:9223372036854775807]\n", // the end of the numbers
		"[master]\nn[-9223372036854775808:9223372036854775807]\n",
		"[master]\nn[" + strings.Repeat("0", 100_000) + "1:9999]\n",
		"[master" + strings.Repeat("x", 10_000),
		"[master]\nn" + strings.Repeat("[0:0]", 50_000) + "\n",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checked(t, []byte(text), func(m *model) error { return m.ini([]byte(text)) })
	})
}

func FuzzYAML(f *testing.F) {
	f.Add(both()["hosts.yml"])
	f.Add("all:\n  hosts:\n    a: &x {ansible_user: ops}\n    b: *x\n  children:\n    etcd: {hosts: {\"e[1:3]\": }}\n")
	f.Add("master:\n  hosts:\n    cp1: {ansible_password: !vault |\n          $ANSIBLE_VAULT;1.1\n          00\n      }\n")
	f.Add("master: {hosts: {cp1: {" + strings.Repeat("a: {", 2_000) + strings.Repeat("}", 2_000) + "}}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		checked(t, []byte(text), func(m *model) error { return m.tree([]byte(text)) })
	})
}

func FuzzJSON(f *testing.F) {
	f.Add(`{"_meta":{"hostvars":{"cp1":{"ansible_host":"192.0.2.11","ansible_port":2222}}},"all":{"children":["master","etcd"]},"master":{"hosts":["cp1"]},"etcd":{"hosts":["e1","e2","e3"]}}`)
	f.Add(`{"master":["cp1"],"etcd":{"hosts":{"e1":{"ip":"192.0.2.21"}},"vars":{"ansible_user":"ops"}}}`)
	f.Add(`{"_meta":{"hostvars":{"cp1":{"a":{"__ansible_vault":"x"},"ansible_user":{"__ansible_unsafe":"ops"}}}},"master":["cp1"]}`)
	deep := strings.Repeat(`{"a":`, 9_000) + "1" + strings.Repeat("}", 9_000)
	f.Add(`{"_meta":{"hostvars":{"cp1":` + deep + `}},"master":["cp1"]}`)
	f.Fuzz(func(t *testing.T, text string) {
		checked(t, []byte(text), func(m *model) error { return m.tree([]byte(text)) })
	})
}

// checked reads an inventory and holds it to what is promised.
func checked(t *testing.T, text []byte, parse func(*model) error) {
	t.Helper()
	m := newModel("/fuzz/hosts")
	var inv Inventory
	var err error
	within.Bounds(t, func() {
		if err = m.isText(text); err == nil {
			err = parse(m)
		}
		if err == nil {
			inv, err = m.inventory()
		}
	})
	if err != nil {
		if !strings.Contains(err.Error(), "/fuzz/hosts") {
			t.Errorf("the error does not name the file: %v", err)
		}
		if len(err.Error()) > 2_000 {
			t.Errorf("the error is not to be read: %.200s…", err)
		}
		return
	}
	seen := map[string]bool{}
	for _, h := range inv.All() {
		if seen[h.Name] || h.Port < 0 || h.Port > 65535 || strings.HasPrefix(h.User, "-") || h.ProxyJump != "" && !isJump(h.ProxyJump) {
			t.Errorf("a host that cannot be: %+v", h)
		}
		seen[h.Name] = true
	}
	for _, chosen := range []role{controlPlane, etcd, balancer} {
		for _, key := range m.of(chosen) {
			for _, name := range m.members(key) {
				if !seen[name] && !slices.ContainsFunc(inv.Notes, func(n string) bool { return strings.Contains(n, "was not read, for") }) {
					t.Errorf("the host %q of the group %q is lost, and nothing says so", name, key)
				}
			}
		}
	}
	again, err := Parse("/fuzz/again.json", written(t, inv))
	if err != nil {
		t.Fatalf("written again, it is not read: %v", err)
	}
	again.File, again.Notes, inv.Notes = inv.File, nil, nil
	sameHosts(t, inv, again)
}

// written is an inventory as ansible-inventory --list prints it.
func written(t *testing.T, inv Inventory) []byte {
	t.Helper()
	hostvars := map[string]map[string]any{}
	out := map[string]any{"_meta": map[string]any{"hostvars": hostvars}}
	for _, h := range inv.All() {
		v := map[string]any{"ansible_host": h.SSHAddress}
		for key, value := range map[string]string{"ip": h.Address, "ansible_user": h.User, "ansible_ssh_private_key_file": h.IdentityFile} {
			if value != "" {
				v[key] = value
			}
		}
		if h.Port != 0 {
			v["ansible_port"] = strconv.Itoa(h.Port)
		}
		if h.ProxyJump != "" {
			v["ansible_ssh_common_args"] = "-J " + h.ProxyJump
		}
		hostvars[h.Name] = v
	}
	for group, hosts := range map[string][]Host{"kube_control_plane": inv.ControlPlane, "etcd": inv.Etcd, "kube_node": inv.Workers, "loadbalancer": inv.LoadBalancers} {
		if len(hosts) > 0 {
			out[group] = map[string]any{"hosts": names(hosts)}
		}
	}
	var rest []string
	for _, g := range inv.Others {
		rest = append(rest, names(g.Hosts)...)
	}
	if len(rest) > 0 {
		out["of_no_known_kind"] = map[string]any{"hosts": rest}
	}
	data, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func names(hosts []Host) []string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.Name)
	}
	return out
}

// sameHosts compares two inventories but for the names of groups of no kind.
func sameHosts(t *testing.T, a, b Inventory) {
	t.Helper()
	sorted := func(i Inventory) []Host {
		return slices.SortedFunc(slices.Values(i.All()), func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	}
	for what, pair := range map[string][2]any{
		"hosts":         {sorted(a), sorted(b)},
		"control plane": {names(a.ControlPlane), names(b.ControlPlane)},
		"etcd":          {names(a.Etcd), names(b.Etcd)},
		"workers":       {names(a.Workers), names(b.Workers)},
		"balancers":     {names(a.LoadBalancers), names(b.LoadBalancers)},
	} {
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s (-read +written and read again):\n%s", what, diff)
		}
	}
}
