package nodefiles_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"hamigrate/migrate/nodefiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases/simulator"
)

// TestList: the certificates where kubeadm-config has them, links as links, no
// log, no key of a CA by any name.
func TestList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t, simulator.KubeadmConfig(func(text string) string {
			return strings.ReplaceAll(text, "/var/log/kubernetes/audit", "/etc/kubernetes/logs")
		}))
		defer w.Close()
		cp1 := w.Machine("cp1")
		read := func(file string) []byte {
			f, err := cp1.ReadFile(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			return f.Data
		}
		for _, name := range []string{"ca.crt", "ca.key", "sa.key", "apiserver.key"} {
			cp1.Put(remote.File{Path: "/opt/pki/" + name, Data: read("/etc/kubernetes/pki/" + name), Mode: 0o600})
		}
		for file, data := range map[string][]byte{
			"logs/audit.log": []byte("x"), "logs/audit-2026-11-30T10-00-00.123.log": []byte("x"), "logs/audit-2026-11-30T10-00-00.123.log.gz": []byte("x"),
			"logs/audit-policy.log": []byte("x"), "big": make([]byte, nodefiles.MaxSize+1), "innocent.pem": read("/etc/kubernetes/pki/ca.key"), "notes": []byte("x"),
		} {
			cp1.Put(remote.File{Path: "/etc/kubernetes/" + file, Data: data, Mode: 0o600})
		}
		cp1.Link("/etc/kubernetes/policy.yaml", "policy-2.yaml")
		got, err := nodefiles.List(t.Context(), cp1, "/opt/pki")
		if err != nil {
			t.Fatal(err)
		}
		var taken []string
		for _, f := range got.Files {
			taken = append(taken, f.Path)
			if f.Path == "/etc/kubernetes/policy.yaml" && (f.Kind != remote.LinkPath || f.Link != "policy-2.yaml") {
				t.Errorf("the link is %+v", f)
			}
		}
		for _, want := range []string{"/opt/pki/sa.key", "/opt/pki/ca.crt", "/opt/pki/apiserver.key", "/etc/kubernetes/admin.conf", "/etc/kubernetes/notes", "/etc/kubernetes/policy.yaml", "/etc/kubernetes/logs/audit-policy.log"} {
			if !slices.Contains(taken, want) {
				t.Errorf("%s is not taken", want)
			}
		}
		why := map[string]nodefiles.LeftOut{}
		for _, l := range got.LeftOut {
			why[l.Path] = l
		}
		for file, word := range map[string]string{
			"/etc/kubernetes/logs/audit.log": "log", "/etc/kubernetes/logs/audit-2026-11-30T10-00-00.123.log": "log", "/etc/kubernetes/logs/audit-2026-11-30T10-00-00.123.log.gz": "log",
			"/etc/kubernetes/big": "8 MB", "/etc/kubernetes/innocent.pem": "CA's private key", "/opt/pki/ca.key": "CA's private key", "/etc/kubernetes/pki/ca.key": "CA's private key",
		} {
			if !strings.Contains(why[file].Why, word) || slices.Contains(taken, file) {
				t.Errorf("%s: %+v", file, why[file])
			}
		}

		cp1.Delete("/opt/pki/sa.key")
		if _, err := nodefiles.List(t.Context(), cp1, "/opt/pki"); err == nil || !strings.Contains(err.Error(), "/opt/pki/sa.key") {
			t.Errorf("without sa.key: %v", err)
		}
	})
}
