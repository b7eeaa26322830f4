package apiserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// stubs makes a folder with these programs, and cp and mv, that is all the
// PATH of a script; sleep takes no time.
func stubs(t *testing.T, programs map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range map[string]string{"sleep": "echo sleep $1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, body := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"cp", "mv"} {
		real, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(real, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The script runs as it is, with the manifest's path alone replaced.
func TestWatchdogScript(t *testing.T) {
	t.Parallel()
	// Ready at the third question; the count is kept beside the programs.
	const third = `n=$(($(read -r x <"$0.n"; echo ${x:-0}) + 1)); echo $n >"$0.n"; [ $n -ge 3 ]`
	for name, tt := range map[string]struct {
		programs map[string]string
		restored bool
	}{
		"kubectl says ready":      {map[string]string{"kubectl": "exit 0"}, false},
		"kubectl says not ready":  {map[string]string{"kubectl": "exit 1"}, true},
		"ready at the third time": {map[string]string{"kubectl": third}, false},
		"curl gets 200":           {map[string]string{"curl": "printf 200"}, false},
		"curl may not ask":        {map[string]string{"curl": "printf 403"}, false},
		"curl gets 500":           {map[string]string{"curl": "printf 500"}, true},
		"curl gets nothing":       {map[string]string{"curl": "printf 000; exit 7"}, true},
		"kubectl is asked first":  {map[string]string{"kubectl": "exit 1", "curl": "printf 200"}, true},
		"neither is there":        {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			manifest, backup := filepath.Join(dir, "kube-apiserver.yaml"), filepath.Join(dir, "it's a backup")
			beside := filepath.Join(dir, ".kube-apiserver.yaml.watchdog")
			for file, text := range map[string]string{manifest: "new", backup: "old"} {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			script := fmt.Sprintf(watchdogScript, "10.88.0.11", remote.Quote(backup), remote.Quote(beside), watchdogSeconds, "127.0.0.1:6443")
			if strings.Count(script, phases.APIServerManifest) != 1 || strings.Contains(script, "%!") {
				t.Fatalf("not as expected:\n%s", script)
			}
			script = strings.Replace(script, phases.APIServerManifest, remote.Quote(manifest), 1)
			programs := stubs(t, tt.programs)
			if tt.programs["kubectl"] == third {
				if err := os.WriteFile(filepath.Join(programs, "kubectl.n"), []byte("0\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("/bin/sh", "-c", script)
			cmd.Env = []string{"PATH=" + programs}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			want := map[bool]string{true: "old", false: "new"}[tt.restored]
			if got, err := os.ReadFile(manifest); err != nil || string(got) != want {
				t.Errorf("the manifest is %q, %v; it said: %s", got, err, out)
			}
			if _, err := os.Stat(beside); err == nil {
				t.Error("the copy beside the manifest is left")
			}
			if got, err := os.ReadFile(backup); err != nil || string(got) != "old" {
				t.Errorf("the backup is %q, %v", got, err)
			}
		})
	}
}

// The question goes past the redirect to the loopback address, and the
// certificate is checked against a name that it holds.
func TestWatchdogAsksTheRealOne(t *testing.T) {
	t.Parallel()
	script := fmt.Sprintf(watchdogScript, "10.88.0.11", "/b", "/c", watchdogSeconds, "127.0.0.1:7443")
	asked := filepath.Join(t.TempDir(), "asked")
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Env = []string{"PATH=" + stubs(t, map[string]string{"kubectl": `echo "$@" >` + asked})}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := os.ReadFile(asked)
	if err != nil {
		t.Fatal(err)
	}
	const want = "--request-timeout 10s --kubeconfig /etc/kubernetes/admin.conf --server https://127.0.0.1:7443 --tls-server-name 10.88.0.11 get --raw /readyz\n"
	if string(got) != want {
		t.Errorf("it asked %s", got)
	}
}
