package controlplane_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases/simulator"
)

// withFlag gives the API server a flag, and volumes, one a line.
func withFlag(name, value string, volumes ...string) func(string) string {
	return func(text string) string {
		text = strings.Replace(text, "  - name: audit-policy-file\n", "  - name: "+name+"\n    value: "+value+"\n  - name: audit-policy-file\n", 1)
		for _, v := range volumes {
			text = strings.Replace(text, "  extraVolumes:\n", "  extraVolumes:\n  - {"+v+"}\n", 1)
		}
		return text
	}
}

// TestHostFilesOfEachNode: what a flag names and nobody carries is looked for on
// the joining node; what the operator has put beside a package's is carried.
func TestHostFilesOfEachNode(t *testing.T) {
	t.Parallel()
	const certs, shared, oidc = "/etc/ssl/certs/dex.pem", "/usr/share/idp/ca.pem", "/etc/pki/oidc/ca.pem"
	mount := func(name, dir string) string {
		return "name: " + name + ", hostPath: " + dir + ", mountPath: " + dir + ", readOnly: true, pathType: DirectoryOrCreate"
	}
	put := func(h *simulator.Host, file string) {
		h.Put(remote.File{Path: file, Data: []byte("a CA"), Mode: 0o644, Owner: "root:root"})
	}
	for name, tt := range map[string]struct {
		config  func(string) string
		arrange func(cp1, cp2 *simulator.Host)
		blocked string // the file
		carried string
	}{
		"not on the joining node": {withFlag("oidc-ca-file", certs), func(cp1, _ *simulator.Host) { put(cp1, certs) }, certs, ""},
		"on both":                 {withFlag("oidc-ca-file", certs), func(cp1, cp2 *simulator.Host) { put(cp1, certs); put(cp2, certs) }, "", ""},
		"a link to nothing there": {withFlag("oidc-ca-file", certs), func(cp1, cp2 *simulator.Host) {
			put(cp1, certs)
			cp2.Link(certs, "/usr/local/share/ca-certificates/dex.crt")
		}, certs, ""},
		"a link that ends in a package's": {withFlag("oidc-ca-file", "/etc/kubernetes/idp/ca.pem", mount("idp", "/etc/kubernetes/idp")), func(cp1, _ *simulator.Host) {
			put(cp1, shared)
			cp1.Link("/etc/kubernetes/idp/ca.pem", shared)
		}, shared, ""},
		"brought by kubeadm": {func(text string) string {
			external := "etcd: {external: {endpoints: ['https://127.0.0.1:2379'], caFile: " + certs + ", certFile: /etc/kubernetes/pki/apiserver-etcd-client.crt, keyFile: /etc/kubernetes/pki/apiserver-etcd-client.key}}\n"
			return withFlag("cloud-config", certs)(regexp.MustCompile(`etcd:\n(  .*\n)+`).ReplaceAllString(text, external))
		}, func(cp1, _ *simulator.Host) { put(cp1, certs) }, "", ""},
		"on neither":           {withFlag("service-account-max-token-expiration", certs), func(_, _ *simulator.Host) {}, "", ""},
		"a folder of a flag's": {withFlag("admission-control-config-file", "/etc/ssl/certs/java"), func(cp1, _ *simulator.Host) { put(cp1, "/etc/ssl/certs/java/x.pem") }, "", ""},
		"the operator's folder": {withFlag("oidc-ca-file", oidc, mount("oidc", "/etc/pki/oidc")), func(cp1, _ *simulator.Host) {
			put(cp1, oidc)
			put(cp1, "/etc/pki/tls/certs/ca-bundle.crt")
		}, "", oidc},
		"below a package's mount": {withFlag("oidc-ca-file", oidc, mount("etc-pki", "/etc/pki")), func(cp1, _ *simulator.Host) { put(cp1, oidc) }, "", oidc},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := simulator.New(t, simulator.KubeadmConfig(tt.config), simulator.Arranged(func(w *simulator.World) { tt.arrange(w.Machine("cp1"), w.Machine("cp2")) }))
				defer w.Close()
				cp2 := w.Machine("cp2")
				env := w.Connect()
				defer env.Close()
				found, err := hostFilesStep(t).Check(t.Context(), env.Reader("cp2"))
				if err != nil || found.Verdict == migrate.Blocked != (tt.blocked != "") {
					t.Fatalf("%v: %+v", err, found)
				}
				if tt.blocked != "" {
					if !strings.Contains(found.Reason, tt.blocked+", which is each node's own") || !strings.Contains(found.Remedy, "ls -lL "+tt.blocked) {
						t.Errorf("%s: %s", found.Reason, found.Remedy)
					}
					return
				}
				if err := hostFilesStep(t).Apply(t.Context(), env.Writer("cp2"), found.Before); err != nil {
					t.Fatal(err)
				}
				now := cp2.Snapshot()
				if tt.carried != "" && string(now[tt.carried].Data) != "a CA" {
					t.Errorf("%s was not carried", tt.carried)
				}
				if _, is := now["/etc/pki/tls/certs/ca-bundle.crt"]; is {
					t.Error("a package's file was carried")
				}
			})
		})
	}
}

// TestLogsAsFiles: a log that is mounted as a file is there, empty, or the folder
// that the kubelet makes it in. The way back deletes nothing that was logged.
func TestLogsAsFiles(t *testing.T) {
	t.Parallel()
	const dir = "/var/log/apiserver"
	const log = dir + "/audit.log"
	for kind, made := range map[string]bool{"File": true, "FileOrCreate": false, `""`: true} {
		for _, linked := range []bool{false, true} {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					real := log
					if linked {
						real = "/data/apiserver/audit.log"
					}
					logged := func(w *simulator.World, text string) {
						w.Machine("cp1").Put(remote.File{Path: log, Data: []byte(text), Mode: 0o600, Owner: "root:root"})
					}
					w := simulator.New(t, simulator.Arranged(func(w *simulator.World) {
						if linked {
							w.Machine("cp1").Link(dir, "/data/apiserver")
						}
						logged(w, "of cp1\n")
					}), simulator.KubeadmConfig(func(text string) string {
						text = strings.ReplaceAll(text, "/var/log/kubernetes/audit/audit.log", log)
						text = strings.ReplaceAll(text, "hostPath: /var/log/kubernetes/audit\n    mountPath: /var/log/kubernetes/audit", "hostPath: "+log+"\n    mountPath: "+log)
						return strings.Replace(text, "    name: audit-log\n    pathType: DirectoryOrCreate", "    name: audit-log\n    pathType: "+kind, 1)
					}))
					defer w.Close()
					cp2 := w.Machine("cp2")
					env := w.Connect()
					defer env.Close()
					step, h := hostFilesStep(t), env.Writer("cp2")
					found, err := step.Check(t.Context(), env.Reader("cp2"))
					if err != nil || found.Verdict != migrate.Needed {
						t.Fatalf("%v: %+v", err, found)
					}
					for range 2 {
						if err := step.Apply(t.Context(), h, found.Before); err != nil {
							t.Fatal(err)
						}
					}
					logged(w, "of cp1\nmore\n")
					if err := step.Verify(t.Context(), env.Reader("cp2")); err != nil {
						t.Error(err)
					}
					f, is := cp2.Snapshot()[real]
					if is != made || len(f.Data) > 0 || is && f.Mode != 0o600 {
						t.Errorf("the log is there: %t, %+v", is, f)
					}
					if _, err := cp2.List(t.Context(), dir); err != nil {
						t.Error(err)
					}

					cp2.Put(remote.File{Path: log, Data: []byte("of cp2\n"), Mode: 0o600, Owner: "root:root"})
					for range 2 {
						if err := step.Undo(t.Context(), h, found.Before); err != nil {
							t.Fatal(err)
						}
					}
					kept := false
					for file, f := range cp2.Snapshot() {
						kept = kept || strings.HasPrefix(file, "/var/lib/migrate/archive/host-files/") && string(f.Data) == "of cp2\n"
						if strings.HasPrefix(file, dir) || strings.HasPrefix(file, "/data/") {
							t.Errorf("undone, %s is left", file)
						}
					}
					if !kept {
						t.Error("what was logged is gone")
					}
				})
			})
		}
	}
}

// TestKeysThatStay: a CA's key is not carried as the second in its file, nor one
// that can't be compared with the CAs'; a certificate that can't be read is no
// reason to go on.
func TestKeysThatStay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t, simulator.KubeadmConfig(fieldConfig))
		defer w.Close()
		fieldWorld(t, w)
		cp1, cp2 := w.Machine("cp1"), w.Machine("cp2")
		of := func(file string) string {
			f, err := cp1.ReadFile(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			return string(f.Data)
		}
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		own := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
		ca := of("/etc/kubernetes/pki/ca.key")
		const dir = "/etc/kubernetes/auth/"
		stay := map[string]string{
			"second.pem":    own + ca,
			"indented.yaml": "key: |\n  " + strings.ReplaceAll(strings.TrimSpace(ca), "\n", "\n  ") + "\n",
			"in.json":       `{"key": "` + strings.ReplaceAll(ca, "\n", `\n`) + `"}`,
			"sealed.pem":    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
			"old.pem":       "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
			"half.pem":      "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n",
		}
		carried := map[string]string{"own.key": own, "own.yaml": "key: |\n  " + strings.ReplaceAll(strings.TrimSpace(own), "\n", "\n  ") + "\n"}
		for _, files := range []map[string]string{stay, carried} {
			for name, text := range files {
				cp1.Put(remote.File{Path: dir + name, Data: []byte(text), Mode: 0o600, Owner: "root:root"})
			}
		}
		env := w.Connect()
		defer env.Close()
		step := hostFilesStep(t)
		found, err := step.Check(t.Context(), env.Reader("cp2"))
		if err != nil {
			t.Fatal(err)
		}
		if err := step.Apply(t.Context(), env.Writer("cp2"), found.Before); err != nil {
			t.Fatal(err)
		}
		now := cp2.Snapshot()
		for name := range stay {
			if _, is := now[dir+name]; is || !strings.Contains(found.Reason, name) {
				t.Errorf("%s was carried: %t; said: %s", name, is, found.Reason)
			}
		}
		for name := range carried {
			if _, is := now[dir+name]; !is {
				t.Errorf("%s was not carried", name)
			}
		}

		cp1.Folder(dir + "own.crt") // no regular file: it can't be read
		if _, err := step.Check(t.Context(), env.Reader("cp2")); err == nil || !strings.Contains(err.Error(), "own.crt") {
			t.Errorf("a certificate that can't be read: %v", err)
		}
	})
}
