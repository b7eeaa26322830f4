package phases

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
)

// realShell runs what a host is asked by the shell of this machine.
type realShell struct {
	*remotetest.Fake
	hashed int
}

func newRealShell(t *testing.T) (*realShell, Reader) {
	t.Helper()
	s := &realShell{Fake: remotetest.New("e1")}
	s.OnRun("", func(script string, _ []byte) (string, error) {
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", script).Output()
		s.hashed += strings.Count(string(out), "  /")
		return string(out), err
	})
	spec := cluster.Spec{Etcd: cluster.Etcd{Hosts: []cluster.Host{{Name: "e1", Address: "10.0.0.1"}}}}
	return s, NewAccess(spec, oneHost{s}).Reader("e1")
}

type oneHost struct{ host remote.Host }

func (o oneHost) Host(context.Context, cluster.Host) (remote.Host, error) { return o.host, nil }

// A file is hashed again when it is another one, or was changed, and only then;
// one that was changed this very second, always.
func TestDigest(t *testing.T) {
	t.Parallel()
	const one, two = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed", "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"
	s, v := newRealShell(t)
	file := filepath.Join(t.TempDir(), "it's etcd")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what, sum string, hashed int) {
		t.Helper()
		s.hashed = 0
		got, err := v.Digest(t.Context(), "e1", file)
		if err != nil || got != sum || s.hashed != hashed {
			t.Errorf("%s: %q, %v, hashed %d times; want %q, %d times", what, got, err, s.hashed, sum, hashed)
		}
	}
	want("nothing there", "", 0)
	put("one")
	want("new", one, 1)
	want("so new that its times prove nothing", one, 1)
	waitUntilOld(t, file)
	want("old", one, 1)
	want("hashed before", one, 0)
	put("two")
	want("rewritten in place, as large as before", two, 1)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want("removed", "", 0)
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Digest(t.Context(), "e1", file); err == nil {
		t.Error("a folder has a checksum")
	}
}

// TestDigestOfALargeFile: its checksum is the right one with the host's openssl.
// sha256sum is not asked then, which prints its word in another form.
func TestDigestOfALargeFile(t *testing.T) {
	t.Parallel()
	s, v := newRealShell(t)
	file := filepath.Join(t.TempDir(), "it's etcd")
	data := bytes.Repeat([]byte("etcd"), 1<<18)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := v.Digest(t.Context(), "e1", file)
	if want := fmt.Sprintf("%x", sha256.Sum256(data)); err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if _, err := exec.LookPath("openssl"); err == nil && s.hashed != 0 {
		t.Error("openssl is here, and sha256sum was asked")
	}
}

// waitUntilOld waits until a file is settled by the clock that the host has.
func waitUntilOld(t *testing.T, file string) {
	t.Helper()
	i, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(i.ModTime().Truncate(time.Second).Add((settled + 1) * time.Second)))
}
