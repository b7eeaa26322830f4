package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate/commandlog"
	"hamigrate/migrate/remote/sshhost"
	"hamigrate/migrate/runlog"
	"hamigrate/migrate/runrecord"
	"hamigrate/migrate/support"
	"hamigrate/state"
)

// unpack reads an archive: what each file of it holds.
func unpack(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for in := tar.NewReader(zip); ; {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(head.Name, support.Folder+"/")
		if all[name] = string(data); head.Mode != 0o600 || strings.HasSuffix(name, ".json") && !json.Valid(data) {
			t.Errorf("%s: mode %o, %s", name, head.Mode, data)
		}
	}
}

// planted are secrets, each in a place of its own.
type planted struct {
	key, clientKey                                                 string // in PEM
	token, certificateKey                                          string
	sudo, ansible, proxy, user, secret, file, folder, comment, env string
}

func plant(t *testing.T) planted {
	t.Helper()
	pemKey := func() string {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	word := func(name string) string { return name + "-Pa55" + rand.Text()[:6] }
	return planted{key: pemKey(), clientKey: pemKey(),
		token:          strings.ToLower(rand.Text()[:6] + "." + rand.Text()[:16]),
		certificateKey: hex.EncodeToString([]byte(rand.Text() + "0123456789")[:32]),
		sudo:           word("sudo"), ansible: word("ansible"), proxy: word("proxy"), user: word("user"), secret: word("secret"),
		file: word("file"), folder: word("folder"), comment: word("comment"), env: word("env")}
}

// forms are how each secret could stand somewhere.
func (p planted) forms() map[string]string {
	all := map[string]string{}
	add := func(name, s string) {
		all[name] = s
		all[name+" in base64"] = strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(s)), "=")
		all[name+" in hex"] = hex.EncodeToString([]byte(s))
	}
	for name, key := range map[string]string{"the key": p.key, "the client's key": p.clientKey} {
		add(name, key)
		add(name+"'s inside", strings.Split(key, "\n")[1])
	}
	for name, s := range map[string]string{"token": p.token, "certificate key": p.certificateKey, "sudo": p.sudo, "ansible": p.ansible, "proxy": p.proxy,
		"user": p.user, "secret": p.secret, "file": p.file, "folder": p.folder, "comment": p.comment, "env": p.env} {
		add(name, s)
	}
	return all
}

// texts are what people, programs and files say that have secrets in them.
func (p planted) texts() map[string]string {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	return map[string]string{
		"kubeconfig": "apiVersion: v1\nkind: Config\nusers:\n- name: admin\n  user:\n    client-key-data: " + b64(p.clientKey) + "\n    token: " + p.user + "\n",
		"manifest":   "spec:\n  containers:\n  - command: [kube-apiserver]\n    env:\n    - name: HTTPS_PROXY\n      value: http://ada:" + p.proxy + "@proxy.example:3128\n    - name: X\n      value: |\n        " + p.env + "\n",
		"config":     "apiServer:\n  extraEnvs:\n  - name: A\n    value: \"" + p.env + "\"\n",
		"object":     `{"kind":"Secret","data":{"x":"` + b64(p.secret) + `"},"metadata":{"name":"x"}}`,
		"yaml":       "kind: Secret\ndata:\n  tls.key: " + b64(p.key) + "\n  x: " + b64(p.secret) + "\n",
		"pem":        "wrote\n" + p.key + "to a file",
		"join":       "kubeadm join --token " + p.token + " --certificate-key " + p.certificateKey,
		"encoded":    "as base64 " + b64(p.token) + " as hex " + hex.EncodeToString([]byte(p.token)) + " and " + hex.EncodeToString([]byte(p.key)),
		"inventory":  "cp1 ansible_host=192.0.2.11 ansible_become_password=" + p.ansible + "\nansible_ssh_common_args: -o ProxyCommand='sshpass -p x --password " + p.ansible + "'",
		"sudo":       "[sudo] password for ada: " + p.sudo,
		"header":     "Authorization: Bearer " + p.user,
		"url":        "proxyconnect tcp: dial https://ada:" + p.proxy + "@proxy.example:3128: refused",
	}
}

const supportSpec = `apiVersion: migrate/v1alpha1
kind: Migration
metadata: {name: flagship}
spec:
  endpoint: api.corp.example:6443   # password: COMMENT
  ssh: {user: ada, identityFile: "./password=FILE", knownHostsFile: "./token=FILE"}
  loadBalancer: {hosts: [{name: lb1, address: 192.0.2.5}]}
  etcd: {hosts: [{name: e1, address: 192.0.2.21}, {name: e2, address: 192.0.2.22}, {name: e3, address: 192.0.2.23}], binary: "./password=FILE"}
  controlPlane:
    first: {name: cp1, address: 192.0.2.11}
    joining: [{name: cp2, address: 192.0.2.12}, {name: cp3, address: 192.0.2.13}]
    join: {patches: "/etc/kubernetes/password=FILE"}
`

// fillSupport makes a spec, a journal and a log that are full of secrets; each text
// is in the log raw as well, as a log that somebody else has written would have it.
func fillSupport(t *testing.T, p planted) (spec string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "password="+p.folder)
	spec = filepath.Join(dir, "migrate.yaml")
	text := strings.NewReplacer("COMMENT", p.comment, "FILE", p.file).Replace(supportSpec)
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(spec, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	j, err := state.Open(journalBeside(spec), state.Options{Tool: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	end, err := j.BeginRun(1)
	if err != nil {
		t.Fatal(err)
	}
	l := logIn(t, commandlog.Beside(journalBeside(spec)))
	raw, err := runlog.Open(commandlog.Beside(journalBeside(spec)), runlog.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(j.BeginPhase(1, "sha256:spec", "sha256:steps", nil))
	must(j.PutBlob(runrecord.AboutBlob, runrecord.About{Cluster: "flagship", StartedAt: time.Now()}))
	for name, text := range p.texts() {
		_, err := j.Advance(state.Key{Phase: 1, Step: "loadbalancer/" + name, Target: "lb1"}, state.Change{Event: state.Start, Note: text,
			Before: map[string]string{name: text, "password": p.sudo}, Edits: []state.Edit{{Object: text, Before: text, After: text}}})
		must(err)
		_, err = j.Advance(state.Key{Phase: 1, Step: "loadbalancer/" + name, Target: "lb1"}, state.Change{Event: state.Fail, Error: text})
		must(err)
		l.Shown(runlog.Err, []byte(text+"\n"))
		l.Ran(sshhost.Ran{Host: "cp1", Script: text, Status: 1, Stderr: text, Stdin: sshhost.Digest{Bytes: 9, SHA256: strings.Repeat("5d", 32)}})
		l.Ran(sshhost.Ran{Host: "cp1", Script: "x", Err: errors.New(text)})
		must(raw.Write(runlog.Entry{At: time.Now().UTC(), Kind: runlog.Out, Text: text}))
		must(raw.Append([]byte(strings.ReplaceAll(text, "\n", " ") + "\n")))
	}
	must(end(p.texts()["url"], false))
	l.End(1, errors.New(p.texts()["url"]))
	return spec
}

// supportOf writes an archive and reads it.
func supportOf(t *testing.T, spec string, flags ...string) map[string]string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.tar.gz")
	args := append([]string{"migrate", "support", "--offline", "--file", spec, "--out", out}, flags...)
	if code := run(args); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	return unpack(t, out)
}

// TestTheArchiveHasNoSecret wherever one was: in names of files and folders, in the
// spec, in the journal, in the log; as it is, in base64 or in hex.
func TestTheArchiveHasNoSecret(t *testing.T) {
	t.Parallel()
	p := plant(t)
	files := supportOf(t, fillSupport(t, p))
	for _, name := range []string{"MANIFEST.txt", "version.json", "spec.json", "journal.json", "report.json", "log.jsonl"} {
		if len(files[name]) < 100 {
			t.Errorf("%s: %q", name, files[name])
		}
	}
	for form, secret := range p.forms() {
		for name, text := range files {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s is in %s: …%.300s", form, name, text[max(0, at-150):])
			}
		}
	}
	for name, wants := range map[string][]string{
		"spec.json":    {"cp1", "192.0.2.11", "api.corp.example", `"ada"`, "(a file)"},
		"journal.json": {"loadbalancer/kubeconfig", "HTTPS_PROXY", "lb1"},
		"log.jsonl":    {`"host":"cp1"`, `"bytes":9`, "proxy.example:3128"},
		"MANIFEST.txt": {"plan.json, preflight.json, verify.json: the cluster was not to be asked", "backups and snapshots", "as they are"},
	} {
		for _, want := range wants {
			if !strings.Contains(files[name], want) {
				t.Errorf("no %s in %s:\n%.2000s", want, name, files[name])
			}
		}
	}
	if strings.Contains(files["log.jsonl"], "5d5d5d") {
		t.Error("a digest of what a command was given is in the archive: passwords could be tried with it")
	}
}

// TestAnAnonymousArchive names nobody: no host, no address, no user, not this
// machine; the same stays the same.
func TestAnAnonymousArchive(t *testing.T) {
	t.Parallel()
	spec := fillSupport(t, plant(t))
	l := logIn(t, commandlog.Beside(journalBeside(spec)))
	for _, text := range []string{"cp1: 192.0.2.11:6443 and 198.51.100.7, [2001:db8::7]:22 at 21:05:00", "other.corp.example is api.corp.example's", "CP1,cp1,e1", "/home/ada/x", "127.0.0.1:6443 kubelet-cp1.service"} {
		l.Shown(runlog.Out, []byte(text+"\n"))
	}
	l.End(0, nil)
	files := supportOf(t, spec, "--anonymous")
	who, machine, _ := strings.Cut(state.WhoAmI(), "@")
	nobody := []string{"cp1", "CP1", "cp2", "e1", "lb1", "192.0.2.", "198.51.100.7", "2001:db8", "corp.example", "ada\"", "/ada/", "flagship", machine}
	if who != "root" {
		nobody = append(nobody, who)
	}
	for name, text := range files {
		for _, n := range nobody {
			if strings.Contains(text, `"`+n+`"`) || len(n) > 3 && strings.Contains(text, n) || len(n) < 4 && strings.Contains(text, " "+n) {
				t.Errorf("%q is in %s", n, name)
			}
		}
	}
	for _, want := range []string{"host-1: address-1:6443 and address-8, [address-9]:22 at 21:05:00", "name-1 is endpoint-1's", "host-1,host-1,host-5", "/home/user-1/x", "127.0.0.1:6443 kubelet-host-1.service"} {
		if !strings.Contains(files["log.jsonl"], want) {
			t.Errorf("no %q in %.3000s", want, files["log.jsonl"][max(0, len(files["log.jsonl"])-3000):])
		}
	}
	if !strings.Contains(files["spec.json"], `"Name": "host-1"`) || !strings.Contains(files["MANIFEST.txt"], "are replaced") {
		t.Error(files["spec.json"], files["MANIFEST.txt"])
	}
}

// TestWhoIsWhoIsNotKept: the table of names is shown, and is not in the log, which
// goes into the next archive. Without a spec nobody knows the names: none is written.
func TestWhoIsWhoIsNotKept(t *testing.T) {
	t.Parallel()
	spec := fillSupport(t, plant(t))
	supportOf(t, spec, "--anonymous")
	data, err := os.ReadFile(commandlog.Beside(journalBeside(spec)))
	if err != nil || strings.Contains(string(data), "host-1") || strings.Contains(string(data), "In it stands") || !strings.Contains(string(data), "Written: ") {
		t.Errorf("the log has the table, or nothing: %v, %s", err, data[max(0, len(data)-2000):])
	}
	if err := os.WriteFile(spec, []byte("broken: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.tar.gz")
	if code := run([]string{"migrate", "support", "--offline", "--anonymous", "--file", spec, "--out", out}); code == 0 {
		t.Error("it went on without the spec")
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an archive was written: %v", err)
	}
	supportOf(t, spec) // with names there is one
}
