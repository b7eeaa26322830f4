package cluster

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files; commit only what you understand")

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestGoldenSpecs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"full", "minimal"} {
		spec, err := parse("specs/"+name+".yaml", read(t, name+".yaml"), "/home/ops")
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.MarshalIndent(spec, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(string(read(t, name+".json")), string(got)+"\n"); diff != "" {
			t.Errorf("%s (-golden +got; `go test -update` rewrites it):\n%s", name, diff)
		}
	}
}

func TestParseReadsAFileOrSaysThatThereIsNone(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	spec, err := Parse(filepath.Join("testdata", "full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(home, ".ssh", "id_ed25519"); spec.SSH.IdentityFile != want {
		t.Errorf("identityFile %q, want %q", spec.SSH.IdentityFile, want)
	}
	if want := filepath.Join("testdata", "bin", "etcd"); spec.Etcd.Binary != want {
		t.Errorf("binary %q, want %q", spec.Etcd.Binary, want)
	}
	if _, err := Parse("nowhere.yaml"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no spec file nowhere.yaml") {
		t.Errorf("got %v", err)
	}
	t.Setenv("HOME", "")
	if _, err := Parse(filepath.Join("testdata", "full.yaml")); err == nil || !strings.Contains(err.Error(), "HOME is not set") {
		t.Errorf("without a home: %v", err)
	}
}

// refusal is an edit of testdata/minimal.yaml and what is then said.
type refusal struct {
	old, new string
	want     []string
}

func refusals() map[string]refusal {
	one := func(old, new string, want ...string) refusal { return refusal{old, new, want} }
	return map[string]refusal{
		"unknown field": one("      address: 10.88.0.22", "      adress: 10.88.0.22",
			"15: spec.etcd.hosts[1].address: is missing; write the IP address that other hosts use to reach it",
			"16: spec.etcd.hosts[1].adress: unknown field; did you mean address?"),
		"unknown field far from all": one("  endpoint:", "  colour: red\n  endpoint:",
			"6: spec.colour: unknown field; known here: endpoint, ssh, loadBalancer, etcd, controlPlane, workers"),
		"field twice": one("  endpoint: api", "  endpoint: b.example.net:6443\n  endpoint: api",
			"7: spec.endpoint: is there twice; the first one is in line 6"),
		"other version": one("migrate/v1alpha1", "migrate/v2",
			`1: apiVersion: "migrate/v2" is not read by this version; it reads migrate/v1alpha1`),
		"other kind, nothing else told": one("kind: Migration\nmetadata:\n  name: small\nspec:\n  endpoint", "kind: Cluster\nmetadata:\n  name: small\nspec:\n  endpnt",
			`2: kind: "Cluster" is not read by this version; it reads Migration`),
		"no name": one("  name: small", "  {}", "4: metadata.name: is missing; write a name for this migration"),
		"bad name": one("name: small", "name: Small One",
			`4: metadata.name: "Small One" is not a host name: lower-case letters, digits, - and ., beginning and ending with a letter or digit`),
		"no endpoint": one("  endpoint: api.example.net:6443\n", "", "6: spec.endpoint: is missing; write the new control-plane endpoint, host:6443"),
		"endpoint without a port": one("net:6443", "net",
			`6: spec.endpoint: "api.example.net" is not host:port; write the port too, usually 6443 (an IPv6 address in "[…]:6443")`),
		"endpoint with a bad port": one("net:6443", "net:66443",
			`6: spec.endpoint: "66443" is not a port; write a number from 1 to 65535, usually 6443`),
		"endpoint in capitals": one("api.example.net", "API.example.net",
			`6: spec.endpoint: "API.example.net" is neither a host name (in lower case) nor an IP address`),
		"endpoint that is a mistyped address": one("api.example.net", "10.88.0",
			`6: spec.endpoint: "10.88.0" is neither a host name (in lower case) nor an IP address`),
		"endpoint on loopback": one("api.example.net", "127.0.0.1",
			"6: spec.endpoint: 127.0.0.1 is a loopback address, which no other host can reach; write the address of the load balancer"),
		"endpoint is a node": one("api.example.net", "10.88.0.11",
			"6: spec.endpoint: 10.88.0.11 is the first control-plane node cp1 (line 22); the endpoint must outlive that host: write the load balancer's address or a name for it"),
		"endpoint is an etcd host's name": one("api.example.net", "e2",
			"6: spec.endpoint: e2 is the etcd host e2 (line 16); the endpoint must outlive that host: write the load balancer's address or a name for it"),
		"endpoint is a list": one("api.example.net:6443", "[api:6443]", "6: spec.endpoint: must be text, and it is a list"),
		"balancer not built": one("  loadBalancer:", "  loadBalancer:\n    kind: kube-vip",
			"8: spec.loadBalancer.kind: kube-vip is not built yet; nginx is"),
		"balancer misspelt": one("  loadBalancer:", "  loadBalancer:\n    kind: ngnix",
			`8: spec.loadBalancer.kind: "ngnix" is not one of nginx, haproxy, kube-vip, external; did you mean nginx?`),
		"no balancer": one("  loadBalancer:\n    hosts:\n    - name: lb1\n      address: 10.88.0.5\n", "",
			"6: spec.loadBalancer: is missing; write which hosts shall be load balancers"),
		"empty list of balancers": one("    hosts:\n    - name: lb1\n      address: 10.88.0.5\n", "    hosts: []\n",
			"8: spec.loadBalancer.hosts: has 0; list at least one host"),
		"balancers without a value": one("    hosts:\n    - name: lb1\n      address: 10.88.0.5\n", "    hosts:\n",
			"8: spec.loadBalancer.hosts: has no value; write one or remove the line"),
		"stacked": one("  etcd:", "  etcd:\n    topology: stacked", "12: spec.etcd.topology: stacked is not built yet; external is"),
		"two etcd hosts": one("    - name: e3\n      address: 10.88.0.23\n", "",
			"13: spec.etcd.hosts: has 2; etcd needs an odd number of members that outlives a loss: list 3 (recommended) or 5"),
		"four etcd hosts": one("    - name: e3", "    - name: e4\n      address: 10.88.0.24\n    - name: e3",
			"13: spec.etcd.hosts: has 4; etcd needs an odd number of members that outlives a loss: list 3 (recommended) or 5"),
		"not an address": one("10.88.0.22", `"10.0.0"`,
			`16: spec.etcd.hosts[1].address: "10.0.0" is not an IP address; write the address other hosts use to reach e2`),
		"a number for an address": one("10.88.0.22", "10.88",
			`16: spec.etcd.hosts[1].address: "10.88" is not an IP address; write the address other hosts use to reach e2`),
		"a name for an address": one("10.88.0.22", "e2.example.net",
			`16: spec.etcd.hosts[1].address: "e2.example.net" is not an IP address; write the address other hosts use to reach e2`),
		"unspecified address": one("10.88.0.22", "0.0.0.0",
			"16: spec.etcd.hosts[1].address: 0.0.0.0 is the unspecified address, which is nobody's; write the address other hosts use to reach e2"),
		"loopback in IPv6 clothes": one("10.88.0.22", "'::ffff:127.0.0.1'",
			"16: spec.etcd.hosts[1].address: ::ffff:127.0.0.1 is a loopback address, which no other host can reach; write the address other hosts use to reach e2"),
		"address with a zone": one("10.88.0.22", "'fd00::1%eth0'",
			"16: spec.etcd.hosts[1].address: fd00::1%eth0 has a zone, which means something on one host only; write the address other hosts use to reach e2"),
		"link-local address": one("10.88.0.22", "169.254.1.1",
			"16: spec.etcd.hosts[1].address: 169.254.1.1 is a link-local address, which needs an interface to go with it; write the address other hosts use to reach e2"),
		"name twice in a group": one("name: e2", "name: e1",
			"15: spec.etcd.hosts[1].name: e1 is the name of the etcd host e1 (line 13) already; list each host once"),
		"name twice across groups": one("name: e2", "name: lb1",
			"15: spec.etcd.hosts[1].name: lb1 is the name of the load balancer lb1 (line 9) already; each host has one part to play, use another one"),
		"etcd host is a control-plane node": one("address: 10.88.0.22", "address: 10.88.0.12",
			"25: spec.controlPlane.joining[0].address: 10.88.0.12 is the address of the etcd host e2 (line 16) already; an external etcd member needs a host of its own: "+
				"it outlives a control-plane node only elsewhere, and on the first one ports 2379 and 2380 are taken by the etcd it replaces"),
		"same address in IPv6 clothes": one("10.88.0.12", "'::ffff:10.88.0.13'",
			"27: spec.controlPlane.joining[1].address: 10.88.0.13 is the address of the joining control-plane node cp2 (line 25) already; list each host once"),
		"nothing of the host": one("    - name: cp3\n      address: 10.88.0.13", "    - {}",
			"26: spec.controlPlane.joining[1].name: is missing; write the host's name; for a node, the Node's name",
			"26: spec.controlPlane.joining[1].address: is missing; write the IP address that other hosts use to reach it"),
		"host is text": one("    - name: cp3\n      address: 10.88.0.13", "    - cp3",
			`26: spec.controlPlane.joining[1]: must be a mapping with the fields name, address, ssh, and it is the text "cp3"`),
		"host is nothing": one("    - name: cp3\n      address: 10.88.0.13", "    - ",
			"26: spec.controlPlane.joining[1]: has no value; write one or remove the line"),
		"one joins": one("    - name: cp3\n      address: 10.88.0.13\n", "",
			"24: spec.controlPlane.joining: has 1; list at least 2: with the first one that makes the 3 that outlive a loss"),
		"no first": one("    first:\n      name: cp1\n      address: 10.88.0.11\n", "",
			"20: spec.controlPlane.first: is missing; write the control-plane node that is there: {name: …, address: …}"),
		"no workers named": one("  controlPlane:", "  workers: []\n  controlPlane:",
			"19: spec.workers: has 0; remove it to mean every other Node of the cluster, or list the workers"),
		"workers is a mapping": one("  controlPlane:", "  workers: {name: w1}\n  controlPlane:", "19: spec.workers: must be a list, and it is a mapping"),
		"binary that is no path": one("  etcd:", "  etcd:\n    binary: from-controlplane",
			`12: spec.etcd.binary: "from-controlplane" is neither from-control-plane nor preinstalled; for a file on this machine write a path with a /, such as ./from-controlplane`),
		"ssh port in quotes": one("  loadBalancer:", "  ssh: {port: '22'}\n  loadBalancer:",
			`7: spec.ssh.port: must be a number from 1 to 65535, without quotes, and it is the text "22"`),
		"ssh port 0":                 one("  loadBalancer:", "  ssh: {port: 0}\n  loadBalancer:", "7: spec.ssh.port: 0 is not a number from 1 to 65535"),
		"ssh port octal":             one("  loadBalancer:", "  ssh: {port: 0o26}\n  loadBalancer:", "7: spec.ssh.port: 0o26 is not a number from 1 to 65535"),
		"ssh user with a host":       one("  loadBalancer:", "  ssh: {user: root@cp1}\n  loadBalancer:", `7: spec.ssh.user: "root@cp1" is not a user name`),
		"ssh user that is an option": one("  loadBalancer:", "  ssh: {user: -oProxyCommand=x}\n  loadBalancer:", `7: spec.ssh.user: "-oProxyCommand=x" is not a user name`),
		"ssh become":                 one("  loadBalancer:", "  ssh: {become: yes}\n  loadBalancer:", `7: spec.ssh.become: "yes" is not one of auto, none, sudo`),
		"ssh timeout":                one("  loadBalancer:", "  ssh: {timeout: 10}\n  loadBalancer:", `7: spec.ssh.timeout: "10" is not a time from 1s to 10m, such as 10s`),
		"ssh timeout too short":      one("  loadBalancer:", "  ssh: {timeout: 10ms}\n  loadBalancer:", `7: spec.ssh.timeout: "10ms" is not a time from 1s to 10m, such as 10s`),
		"multicast address": one("10.88.0.22", "224.0.0.1",
			"16: spec.etcd.hosts[1].address: 224.0.0.1 is a multicast address; write the address other hosts use to reach e2"),
		"endpoint is a node in IPv6 clothes": one("api.example.net:6443", "'[::ffff:10.88.0.11]:6443'",
			"6: spec.endpoint: 10.88.0.11 is the first control-plane node cp1 (line 22); the endpoint must outlive that host: write the load balancer's address or a name for it"),
		"ssh address for all": one("  loadBalancer:", "  ssh: {address: 1.2.3.4}\n  loadBalancer:",
			"7: spec.ssh.address: unknown field; known here: user, port, identityFile, knownHostsFile, become, timeout"),
		"somebody's home": one("  loadBalancer:", "  ssh: {identityFile: ~bob/key}\n  loadBalancer:",
			`7: spec.ssh.identityFile: "~bob/key": only ~/ is understood, for your own home folder; write the whole path`),
		"patches not absolute": one("  controlPlane:", "  controlPlane:\n    join: {patches: patches}",
			`20: spec.controlPlane.join.patches: "patches" is not an absolute path; it names a folder on the joining nodes`),
		"several errors in one": one("  controlPlane:", "  controlPlane:\n    join: {ignorePreflightErrors: ['Swap,Mem']}",
			`20: spec.controlPlane.join.ignorePreflightErrors[0]: "Swap,Mem" is not one name; write one name an item, as kubeadm prints it in [ERROR …]`),
		"anchor": one("name: e1", "name: &a e1",
			"13: spec.etcd.hosts[0].name: must be text, and it is an anchor, alias or tag of YAML, which is not read here: write the value itself"),
		"merge key": one("    - name: e3\n", "    - <<: {x: y}\n      name: e3\n", "17: spec.etcd.hosts[2].<<: unknown field; known here: name, address, ssh"),
		"control character": one("name: e1", `name: "e\x1b1"`,
			`13: spec.etcd.hosts[0].name: "e\x1b1" is empty, or has white space around it or control characters in it`),
		"second document": one("    - name: cp3\n      address: 10.88.0.13\n", "    - name: cp3\n      address: 10.88.0.13\n---\nkind: Other\n",
			"29: a second document begins; a spec file has one"),
		"tab": one("  endpoint:", "\tendpoint:", "6: is not YAML: found character '\t' that cannot start any token"),
		"three mistakes told at once": one("  endpoint: api.example.net:6443\n  loadBalancer:\n    hosts:\n    - name: lb1\n      address: 10.88.0.5",
			"  endpoint: api\n  loadBalancer:\n    hosts:\n    - name: LB1\n      address: x\n      port: 3",
			`6: spec.endpoint: "api" is not host:port; write the port too, usually 6443 (an IPv6 address in "[…]:6443")`,
			`9: spec.loadBalancer.hosts[0].name: "LB1" is not a host name: lower-case letters, digits, - and ., beginning and ending with a letter or digit`,
			`10: spec.loadBalancer.hosts[0].address: "x" is not an IP address; write the address other hosts use to reach it`,
			"11: spec.loadBalancer.hosts[0].port: unknown field; known here: name, address, ssh"),
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	minimal := string(read(t, "minimal.yaml"))
	for name, c := range refusals() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.Count(minimal, c.old) != 1 {
				t.Fatalf("the text to replace is there %d times", strings.Count(minimal, c.old))
			}
			_, err := parse("migrate.yaml", []byte(strings.Replace(minimal, c.old, c.new, 1)), "/home/ops")
			if err == nil {
				t.Fatal("accepted")
			}
			want := "migrate.yaml:" + strings.Join(c.want, "\nmigrate.yaml:")
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if _, ok := errors.AsType[*FieldError](err); !ok {
				t.Error("no FieldError in it")
			}
		})
	}
}

func TestFilesThatAreNoSpec(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                          "m:1: is empty; docs/spec.md shows what belongs into it",
		"# nothing\n---\n":          "m:1: is empty; docs/spec.md shows what belongs into it",
		"hello":                     `m:1: must be a mapping with the fields apiVersion, kind, metadata, spec, and it is the text "hello"`,
		"- a\n- b":                  "m:1: must be a mapping with the fields apiVersion, kind, metadata, spec, and it is a list",
		"a: [1":                     "m:1: is not YAML: ",
		strings.Repeat("#", 300000): "m:1: has 300000 bytes, which is no spec file (they have at most 262144)",
	} {
		if _, err := parse("m", []byte(text), "/"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.20q: got %v, want %s", text, err, want)
		}
	}
}

func TestJSONIsASpecToo(t *testing.T) {
	t.Parallel()
	text := `{"apiVersion":"migrate/v1alpha1","kind":"Migration","metadata":{"name":"small"},"spec":{"endpoint":"[fd00::5]:6443",
"loadBalancer":{"hosts":[{"name":"lb1","address":"fd00::5"}]},
"etcd":{"hosts":[{"name":"e1","address":"10.88.0.21"},{"name":"e2","address":"10.88.0.22"},{"name":"e3","address":"10.88.0.23"}]},
"controlPlane":{"first":{"name":"cp1","address":"10.88.0.11"},"joining":[{"name":"cp2","address":"10.88.0.12"},{"name":"cp3","address":"10.88.0.13"}]}}}`
	spec, err := parse("m", []byte(text), "/")
	if err != nil || spec.Endpoint != (Endpoint{"fd00::5", 6443}) {
		t.Errorf("got %+v, %v", spec.Endpoint, err)
	}
}

func TestFingerprintIsOfTheMeaning(t *testing.T) {
	t.Parallel()
	full := string(read(t, "full.yaml"))
	print := func(name, text, home string) string {
		t.Helper()
		spec, err := parse(name, []byte(text), home)
		if err != nil {
			t.Fatal(err)
		}
		return spec.Fingerprint
	}
	base := print("a/migrate.yaml", full, "/home/ops")
	if print("b/c.yaml", full, "/root") != base {
		t.Error("another operator has another fingerprint")
	}
	edit := func(old, new string) string {
		if !strings.Contains(full, old) {
			t.Fatalf("%q is not there", old)
		}
		return print("a/migrate.yaml", strings.Replace(full, old, new, 1), "/home/ops")
	}
	for _, same := range [][2]string{
		{"# Everything a spec may say.", ""},
		{"user: ops", "user: root"},
		{"address: bastion.example.net", "address: 192.0.2.1"},
		{`"10.88.0.23"`, "10.88.0.23"},
		{"    kind: nginx\n", ""},
		{`  - {name: w1, address: 10.88.0.31}
  - {name: w2, address: "fd00::32"}`, `  - {name: w2, address: "FD00:0::32"}
  - {name: w1, address: 10.88.0.31}`},
	} {
		if edit(same[0], same[1]) != base {
			t.Errorf("%q for %q has another fingerprint", same[1], same[0])
		}
	}
	seen := []string{base}
	for _, other := range [][2]string{
		{"flagship", "tender"},
		{"10.88.0.5:6443", "10.88.0.5:443"},
		{"name: lb1, address: 10.88.0.5", "name: lb2, address: 10.88.0.5"},
		{"10.88.0.21", "10.88.0.24"},
		{"./bin/etcd", "preinstalled"},
		{"address: 10.88.0.11", "address: 10.88.0.14"},
		{"{name: cp2, address: 10.88.0.12}, {name: cp3, address: 10.88.0.13}", "{name: cp3, address: 10.88.0.13}, {name: cp2, address: 10.88.0.12}"},
		{"/etc/kubernetes/patches", "/etc/patches"},
		{"[SystemVerification]", "[Swap]"},
		{"  - {name: w1, address: 10.88.0.31}\n", ""},
	} {
		f := edit(other[0], other[1])
		if slices.Contains(seen, f) {
			t.Errorf("%q for %q has a fingerprint seen before", other[1], other[0])
		}
		seen = append(seen, f)
	}
}

// FuzzParse: whatever the bytes, there is a spec or an error with a place in
// the file, and no panic; and a spec has all its parts.
func FuzzParse(f *testing.F) {
	f.Add(read(f, "full.yaml"))
	f.Add(read(f, "minimal.yaml"))
	minimal := string(read(f, "minimal.yaml"))
	for _, c := range refusals() {
		f.Add([]byte(strings.Replace(minimal, c.old, c.new, 1)))
	}
	f.Add([]byte(strings.Repeat("[", 5000)))
	f.Add([]byte(strings.Repeat("a: &a *a\n? ", 50)))
	f.Fuzz(func(t *testing.T, data []byte) {
		spec, err := parse("m.yaml", data, "/home/ops")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "m.yaml:") {
				t.Errorf("no place in %q", err)
			}
			return
		}
		if spec.Name == "" || spec.Endpoint.Host == "" || len(spec.Etcd.Hosts) < 3 || len(spec.ControlPlane.Joining) < 2 || len(spec.LoadBalancer.Hosts) == 0 {
			t.Errorf("accepted %+v", spec)
		}
		for _, h := range slices.Concat(spec.LoadBalancer.Hosts, spec.Etcd.Hosts, spec.ControlPlane.Joining, spec.Workers, []Host{spec.ControlPlane.First}) {
			if h.Name == "" || h.Address == "" || h.SSH.Port == 0 || h.SSH.User == "" || h.SSH.Timeout == 0 {
				t.Errorf("accepted the host %+v", h)
			}
		}
	})
}
