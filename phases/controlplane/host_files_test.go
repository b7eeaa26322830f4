package controlplane_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/simulator"
)

// fieldConfig is a cluster as people have them: the policy and the log in one
// writable folder, a webhook whose kubeconfig names certificates, a folder with
// links, and files of each node's own that are mounted.
func fieldConfig(text string) string {
	text = strings.Replace(text, "  - name: audit-policy-file\n", `  - name: audit-webhook-config-file
    value: /etc/kubernetes/hooks/audit.conf
  - name: authentication-config
    value: /etc/kubernetes/auth/authn.yaml
  - name: audit-policy-file
`, 1)
	return strings.Replace(text, "  extraVolumes:\n", `  extraVolumes:
  - {name: localtime, hostPath: /etc/localtime, mountPath: /etc/localtime, readOnly: true, pathType: File}
  - {name: hooks, hostPath: /etc/kubernetes/hooks, mountPath: /etc/kubernetes/hooks, pathType: DirectoryOrCreate}
  - {name: auth, hostPath: /etc/kubernetes/auth, mountPath: /etc/kubernetes/auth, readOnly: true, pathType: DirectoryOrCreate}
`, 1)
}

// fieldWorld has these files on cp1, and on cp2 a link where a file is to go.
func fieldWorld(t *testing.T, w *simulator.World) {
	t.Helper()
	cp1, cp2 := w.Machine("cp1"), w.Machine("cp2")
	for file, text := range map[string]string{
		"/etc/kubernetes/hooks/audit.conf":        "clusters: [{cluster: {certificate-authority: certs/hook-ca.crt}}]\nusers: [{user: {client-certificate: /etc/kubernetes/hooks/certs/hook.crt, client-key: certs/hook.key}}]\n",
		"/etc/kubernetes/hooks/certs/hook-ca.crt": "a CA", "/etc/kubernetes/hooks/certs/hook.crt": "a certificate", "/etc/kubernetes/hooks/certs/hook.key": "a key",
		"/etc/kubernetes/hooks/unnamed.log":   "written by the pod",
		"/etc/kubernetes/auth/v2/authn.yaml":  "kind: AuthenticationConfiguration\n",
		"/etc/kubernetes/auth/sub/ca-key.pem": "by its name",
		"/usr/share/zoneinfo/Asia/Tokyo":      "Tokyo",
	} {
		cp1.Put(remote.File{Path: file, Data: []byte(text), Mode: 0o640, Owner: "root:root"})
	}
	cp1.Link("/etc/kubernetes/auth/authn.yaml", "v2/authn.yaml")
	cp1.Link("/etc/localtime", "/usr/share/zoneinfo/Asia/Tokyo")
	key, err := cp1.ReadFile(t.Context(), "/etc/kubernetes/pki/ca.key")
	if err != nil {
		t.Fatal(err)
	}
	cp1.Put(remote.File{Path: "/etc/kubernetes/auth/innocent.pem", Data: key.Data, Mode: 0o600, Owner: "root:root"})
	for file, text := range map[string]string{"/usr/share/zoneinfo/UTC": "UTC", "/usr/share/hooks/packaged.conf": "of a package"} {
		cp2.Put(remote.File{Path: file, Data: []byte(text), Mode: 0o644, Owner: "root:root"})
	}
	cp2.Link("/etc/localtime", "/usr/share/zoneinfo/UTC")
	cp2.Link("/etc/kubernetes/hooks/audit.conf", "/usr/share/hooks/packaged.conf")
}

func hostFilesStep(t *testing.T) phases.Step {
	t.Helper()
	steps := controlplane.Phase().Steps
	return steps[slices.IndexFunc(steps, func(s phases.Step) bool { return s.ID == "controlplane/host-files" })]
}

// TestHostFilesAsTheyAre: what is read is carried, links as links, and nothing
// is written through one; logs, keys of CAs and the node's own files stay. The
// way back makes all as it was.
func TestHostFilesAsTheyAre(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := simulator.New(t, simulator.KubeadmConfig(fieldConfig))
		defer w.Close()
		fieldWorld(t, w)
		env := w.Connect()
		defer env.Close()
		step, v, h, cp2 := hostFilesStep(t), env.Reader("cp2"), env.Writer("cp2"), w.Machine("cp2")
		was := cp2.Snapshot()

		found, err := step.Check(t.Context(), v)
		if err != nil || found.Verdict != migrate.Needed {
			t.Fatalf("%v: %+v", err, found)
		}
		for _, want := range []string{"/etc/localtime is each node's own", "/etc/kubernetes/auth/innocent.pem is the private key of a CA", "ca-key.pem is the private key of a CA"} {
			if !strings.Contains(found.Reason, want) {
				t.Errorf("%q is not said: %s", want, found.Reason)
			}
		}
		for range 2 { // done twice is done once
			if err := step.Apply(t.Context(), h, found.Before); err != nil {
				t.Fatal(err)
			}
		}
		if err := step.Verify(t.Context(), v); err != nil {
			t.Error(err)
		}
		now := cp2.Snapshot()
		for file, text := range map[string]string{
			"/etc/kubernetes/hooks/audit.conf": "clusters:", "/etc/kubernetes/hooks/certs/hook-ca.crt": "a CA", "/etc/kubernetes/hooks/certs/hook.crt": "a certificate",
			"/etc/kubernetes/hooks/certs/hook.key": "a key", "/etc/kubernetes/auth/v2/authn.yaml": "kind:", "/etc/kubernetes/auth/authn.yaml": "v2/authn.yaml",
			"/usr/share/zoneinfo/UTC": "UTC", "/etc/localtime": "/usr/share/zoneinfo/UTC", "/usr/share/hooks/packaged.conf": "of a package",
		} {
			if !strings.HasPrefix(string(now[file].Data), text) {
				t.Errorf("%s holds %q", file, now[file].Data)
			}
		}
		if now["/etc/kubernetes/auth/authn.yaml"].Mode&fs.ModeSymlink == 0 || now["/etc/kubernetes/hooks/audit.conf"].Mode != 0o640 {
			t.Error("a link is no link, or a file has another mode")
		}
		for file := range now {
			if strings.HasSuffix(file, "unnamed.log") || strings.HasSuffix(file, "innocent.pem") || strings.HasSuffix(file, "ca-key.pem") || strings.Contains(file, "/pki/") || strings.Contains(file, "Tokyo") {
				t.Errorf("%s was carried", file)
			}
		}

		for range 2 {
			if err := step.Undo(t.Context(), h, found.Before); err != nil {
				t.Fatal(err)
			}
		}
		now = cp2.Snapshot()
		for file, f := range was {
			if string(now[file].Data) != string(f.Data) || now[file].Mode != f.Mode {
				t.Errorf("undone, %s holds %q with mode %v, not %q with %v", file, now[file].Data, now[file].Mode, f.Data, f.Mode)
			}
		}
		for file := range now {
			if _, had := was[file]; !had && !strings.HasPrefix(file, hostfiles.StateDir) && !strings.HasPrefix(file, "/proc/") {
				t.Errorf("undone, %s is left", file)
			}
		}
	})
}

// TestHostFilesHindered: what this tool does not decide blocks, with what to do.
func TestHostFilesHindered(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		arrange func(cp1, cp2 *simulator.Host)
		words   []string
	}{
		"a folder where a file goes": {func(_, cp2 *simulator.Host) { cp2.Folder("/etc/kubernetes/auth/v2/authn.yaml") },
			[]string{"/etc/kubernetes/auth/v2/authn.yaml on cp2 is a folder", "mv "}},
		"a link above a file": {func(_, cp2 *simulator.Host) { cp2.Link("/etc/kubernetes/auth", "/usr/share/auth") },
			[]string{"/etc/kubernetes/auth on cp2 is a link"}},
		"no file of its own": {func(_, cp2 *simulator.Host) { cp2.Delete("/etc/localtime") },
			[]string{"/etc/localtime", "is not on cp2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := simulator.New(t, simulator.KubeadmConfig(fieldConfig))
				defer w.Close()
				fieldWorld(t, w)
				tt.arrange(w.Machine("cp1"), w.Machine("cp2"))
				env := w.Connect()
				defer env.Close()
				found, err := hostFilesStep(t).Check(t.Context(), env.Reader("cp2"))
				if err != nil || found.Verdict != migrate.Blocked {
					t.Fatalf("%v: %+v", err, found)
				}
				for _, word := range tt.words {
					if !strings.Contains(found.Reason+" "+found.Remedy, word) {
						t.Errorf("%q is not in %s: %s", word, found.Reason, found.Remedy)
					}
				}
				if err := hostFilesStep(t).Apply(t.Context(), env.Writer("cp2"), nil); err == nil {
					t.Error("it was done all the same")
				}
			})
		})
	}
}
