package rights

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAllow runs the command that is proposed: a file that is good replaces the one
// of before, and what is none leaves it.
func TestAllow(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ sudoers, want string }{
		"a good file":         {"echo new", "new\n"},
		"there is no spec":    {"false", "old\n"},
		"it prints a mistake": {"echo wrong", "old\n"},
		"the program is away": {"no-such-program-there", "old\n"},
		"it prints nothing":   {"true", "old\n"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, text := range map[string]string{
				"migrate": "old\n",
				"ssh":     "#!/bin/sh\nshift\nexec sh -c \"$*\"\n",
				"visudo":  "#!/bin/sh\n! grep -q wrong \"$2\"\n", // it takes an empty file, as visudo does
			} {
				// A process that is begun meanwhile would hold the file open for
				// writing, and then it cannot be run (ETXTBSY).
				syscall.ForkLock.RLock()
				err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700)
				syscall.ForkLock.RUnlock()
				if err != nil {
					t.Fatal(err)
				}
			}
			line := strings.ReplaceAll(Allow(c.sudoers, "ssh root@192.0.2.11"), filepath.Dir(Path), dir)
			cmd := exec.Command("sh", "-c", line)
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			out, _ := cmd.CombinedOutput() // the status is that of the last of the pipe
			got, err := os.ReadFile(filepath.Join(dir, "migrate"))
			if err != nil || string(got) != c.want {
				t.Errorf("%s leaves %q, %v; it said %s", line, got, err, out)
			}
		})
	}
}
