package rights

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// play runs a look with a sudo that says what it was asked for, and refuses what
// begins as refuse says.
func play(t *testing.T, refuse, script string) (stdout, stderr string, status int) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"sudo": "#!/bin/sh\nl=; while :; do case $1 in -l) l=1 ;; -n) ;; --) shift; break ;; esac; shift; done\ncase \"$*\" in " + refuse + "*) echo 'a password is required' >&2; exit 1 ;; esac\n" +
			"[ -z \"$l\" ] || exit 0\necho \"root: $*\"\n",
		"ss": "#!/bin/sh\necho \"user: ss $*\"\n", "crictl": "#!/bin/sh\necho \"user: crictl $*\"\n",
		"nginx": "#!/bin/sh\necho \"user: nginx $*\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.CommandContext(t.Context(), "/bin/sh", "-c", Functions()+script)
	c.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
	var out, err strings.Builder
	c.Stdout, c.Stderr = &out, &err
	if runErr := c.Run(); c.ProcessState == nil {
		t.Fatal(runErr)
	}
	return out.String(), err.String(), c.ProcessState.ExitCode()
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		`ss -Hltn`:                      "user: ss -Hltn\n",
		`ss -Htnp state established`:    "root: ss -Htnp state established\n",
		`ss -Hltnp '( sport = :80 )'`:   "root: ss -Hltnp ( sport = :80 )\n",
		`nginx -T`:                      "root: nginx -T\n",
		`nginx -V`:                      "user: nginx -V\n",
		`readlink /proc/1/exe`:          "root: readlink /proc/1/exe\n",
		`cat /proc/12/environ | cat`:    "root: cat /proc/12/environ\n",
		`readlink -f /`:                 "/\n",
		`timeout 5 echo x`:              "x\n",
		Instances:                       "root: find /proc -maxdepth 3 ( -name map_files -o -name task -o -name net ) -prune -o -lname anon_inode:inotify -print\n",
		`command -v ipvsadm || echo no`: "no\n",
		`stat -L -c '` + StatFormat + `' /proc/9/root/usr/local/bin/etcd`: "root: stat -L -c " + StatFormat + " /proc/9/root/usr/local/bin/etcd\n",
		`sha256sum /proc/9/root/usr/local/bin/etcd`:                       "root: sha256sum /proc/9/root/usr/local/bin/etcd\n",
	} {
		if out, stderr, _ := play(t, "nothing", script); out != want || stderr != "" {
			t.Errorf("%s: %q, %q, want %q", script, out, stderr, want)
		}
	}
	out, _, _ := play(t, "nothing", `o=$(timeout 5 crictl --runtime-endpoint unix:///run/containerd/containerd.sock version 2>&1); echo "$o"`)
	if !strings.HasPrefix(out, "root: timeout 5 /") || !strings.HasSuffix(out, "/crictl --runtime-endpoint unix:///run/containerd/containerd.sock version\n") {
		t.Errorf("crictl is asked as %q", out)
	}
}

// A script hides what its programs say, and takes one that fails for one that
// found nothing: that sudo refused is told all the same.
func TestRefusalIsTold(t *testing.T) {
	t.Parallel()
	out, stderr, status := play(t, "ss", `n=$(ss -Htnp state established 2>/dev/null | wc -l) || true; echo "$n"`)
	if !strings.Contains(stderr, Refused+"ss -Htnp state established\n") || status != 0 || strings.TrimSpace(out) != "0" {
		t.Errorf("%q, %q, status %d", out, stderr, status)
	}
	if _, stderr, status := play(t, "nothing", `ss() { return 3; }; set -e; ss`); strings.Contains(stderr, Refused) || status != 3 {
		t.Errorf("a program that fails by itself: %q, status %d", stderr, status)
	}
}
