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
	// A service may run without HOME: the user database has it, too.
	t.Setenv("HOME", "")
	if spec, err = Parse(filepath.Join("testdata", "full.yaml")); err != nil || !filepath.IsAbs(spec.SSH.IdentityFile) {
		t.Errorf("without HOME: identityFile %q, %v", spec.SSH.IdentityFile, err)
	}
}

// refusal is an edit of testdata/minimal.yaml and what is then said.
type refusal struct{ name, replace, with, says string }

// refusals reads testdata/refusals.txt.
func refusals(t testing.TB) []refusal {
	t.Helper()
	var all []refusal
	var into *string
	for n, line := range strings.Split(string(read(t, "refusals.txt")), "\n") {
		text, isText := strings.CutPrefix(line, "|")
		last := len(all) - 1
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			into = nil
		case isText && into == nil:
			t.Fatalf("refusals.txt:%d: text of nothing", n+1)
		case isText:
			*into += text + "\n"
		case line == "replace":
			into = &all[last].replace
		case line == "with":
			into = &all[last].with
		case line == "says":
			into = &all[last].says
		default:
			all = append(all, refusal{name: line})
		}
	}
	return all
}

// edited is the minimal spec with the mistake in it.
func (r refusal) edited(t testing.TB, minimal string) []byte {
	t.Helper()
	old := strings.TrimSuffix(r.replace, "\n")
	if n := strings.Count(minimal, old); n != 1 {
		t.Fatalf("%s: the text to replace is there %d times", r.name, n)
	}
	return []byte(strings.Replace(minimal, old, strings.TrimSuffix(r.with, "\n"), 1))
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	minimal := string(read(t, "minimal.yaml"))
	for _, c := range refusals(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := parse("migrate.yaml", c.edited(t, minimal), "/home/ops")
			if err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(c.says, err.Error()+"\n"); diff != "" {
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
		"hello":                     `m:1: must be a mapping with the fields apiVersion, kind, metadata, spec, and it is text of 5 bytes`,
		"- a\n- b":                  "m:1: must be a mapping with the fields apiVersion, kind, metadata, spec, and it is a list",
		"a: 1":                      "m:1: is no spec file: it has none of the fields apiVersion, kind, metadata, spec",
		"a: [1":                     "m:1: is not YAML: ",
		"\xff\xfea\x00":             "m:1: is text in UTF-16: save it as UTF-8",
		strings.Repeat("#", 300000): "m:1: has 300000 bytes, which is no spec file (they have at most 262144)",
	} {
		if _, err := parse("m", []byte(text), "/"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.20q: got %v, want %s", text, err, want)
		}
	}
}

// TestAWrongFileIsNotTold: a key, a vault or a list of passwords may be named by
// mistake. Nothing of what is in it may reach the terminal, or what is handed on.
func TestAWrongFileIsNotTold(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2hunter2"
	long := strings.Repeat(secret, 30)
	for name, text := range map[string]string{
		"a private key":         "-----BEGIN OPENSSH PRIVATE KEY-----\n" + long + "\n" + long + "\n-----END OPENSSH PRIVATE KEY-----\n",
		"an old private key":    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC," + secret + "\n\n" + long + "\n-----END RSA PRIVATE KEY-----\n",
		"a vault":               "$ANSIBLE_VAULT;1.1;AES256\n" + long + "\n" + long + "\n",
		"a password":            secret + "\n",
		"a number":              "471147114711\n",
		"variables of a shell":  "PASSWORD=" + secret + "\nexport TOKEN='" + secret + "'\n",
		"another YAML file":     "password: " + secret + "\n" + secret + ": {a: b}\n",
		"a list":                "- " + secret + "\n",
		"a literal":             "|\n  " + secret + "\n",
		"in double quotes":      `"` + secret + `"`,
		"no YAML":               "a: \"" + secret + "\n",
		"no YAML either":        secret + ": [" + secret + "\n",
		"a tag":                 "!" + secret + " " + secret + "\n",
		"an anchor":             "&" + secret + " *" + secret + "\n",
		"two documents":         "---\n" + secret + "\n---\n" + secret + "\n",
		"colons":                "root:" + secret + ":0:0\n",
		"a map that is no spec": "{" + secret + ": " + secret + "}",
	} {
		_, err := parse("m", []byte(text), "/")
		if err == nil || !strings.HasPrefix(err.Error(), "m:") || strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, field := range []string{"user: %s", "user: [%s]", "%s: a", "port: %s", "timeout: %s", "become: %s", "address: %s", "identityFile: '~%s'"} {
		text := strings.Replace(string(read(t, "minimal.yaml")), "spec:", "spec:\n  ssh: {"+strings.ReplaceAll(field, "%s", long+"@")+"}", 1)
		_, err := parse("m", []byte(text), "/")
		if err == nil || strings.Contains(err.Error(), secret+secret+secret) || len(err.Error()) > 400 {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestJSONIsASpecToo(t *testing.T) {
	t.Parallel()
	text := `{"apiVersion":"migrate/v1alpha1","kind":"Migration","metadata":{"name":"small"},"spec":{"endpoint":"192.0.2.5:6443",
"loadBalancer":{"hosts":[{"name":"lb1","address":"192.0.2.5"}]},
"etcd":{"hosts":[{"name":"e1","address":"10.88.0.21"},{"name":"e2","address":"10.88.0.22"},{"name":"e3","address":"10.88.0.23"}]},
"controlPlane":{"first":{"name":"cp1","address":"10.88.0.11"},"joining":[{"name":"cp2","address":"10.88.0.12"},{"name":"cp3","address":"10.88.0.13"}]}}}`
	spec, err := parse("m", []byte(text), "/")
	if err != nil || spec.Endpoint != (Endpoint{"192.0.2.5", 6443}) {
		t.Errorf("got %+v, %v", spec.Endpoint, err)
	}
}

// TestByteOrderMark: editors on Windows put one before the text.
func TestByteOrderMark(t *testing.T) {
	t.Parallel()
	marked := append([]byte("\ufeff"), read(t, "minimal.yaml")...)
	if _, err := parse("m", marked, "/"); err != nil {
		t.Error(err)
	}
}

// TestParseHasABound: of a device and of a huge file no more is read than a spec
// can have.
func TestParseHasABound(t *testing.T) {
	t.Parallel()
	huge := filepath.Join(t.TempDir(), "huge.yaml")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 600<<20); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"/dev/zero", huge} {
		_, err := Parse(file)
		if want := "the spec file " + file + " has more than 256 KiB, which is no spec file"; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := Parse(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a folder: name a file in it") {
		t.Errorf("a folder: %v", err)
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
  - {name: w2, address: "10.88.0.32"}`, `  - {name: w2, address: "::ffff:10.88.0.32"}
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
	for _, c := range refusals(f) {
		f.Add(c.edited(f, minimal))
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
			if h.Name == "" || h.Address == "" || h.SSH.Become == "" || h.SSH.Timeout == 0 {
				t.Errorf("accepted the host %+v", h)
			}
		}
	})
}

// TestTabsAndDirectives: what an editor or another tool puts into YAML.
func TestTabsAndDirectives(t *testing.T) {
	t.Parallel()
	minimal := string(read(t, "minimal.yaml"))
	for text, want := range map[string]string{
		"%YAML 1.2\n---\n" + minimal: "",
		"spec:\n\tendpoint: x\n":     ":2: begins with a tab, where YAML wants spaces: indent with spaces",
		"\tspec: 1\n":                ":1: begins with a tab, where YAML wants spaces: indent with spaces",
	} {
		file := filepath.Join(t.TempDir(), "migrate.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Parse(file)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasSuffix(err.Error(), want)) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
}
