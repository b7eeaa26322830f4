package backup_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate/backup"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
)

// slow takes a second backup while the first one is streamed.
type slow struct {
	backup.Members
	meanwhile func()
}

func (s slow) CountKeys(ctx context.Context, host string, revision int64) (int64, error) {
	s.meanwhile()
	return s.Members.CountKeys(ctx, host, revision)
}

// TestTakeOneAtATime: what the first one writes is no leftover to the second.
func TestTakeOneAtATime(t *testing.T) {
	t.Parallel()
	tools := newTools(t)
	e := tools.start(t, "old", filepath.Join(t.TempDir(), "old"), tools.address(t), "")
	put(t, tools.client(t, e), "/registry/pods/a", "a") // an empty database has no revision
	members, dir, met := tools.reader(e), t.TempDir(), false
	first := slow{members, func() {
		met = true
		if _, err := backup.Take(t.Context(), backup.Source{Members: members, Node: node(t)}, backup.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another backup is being taken into "+dir) {
			t.Errorf("the second one: %v", err)
		}
	}}
	for range 2 { // the lock is given back
		if _, err := backup.Take(t.Context(), backup.Source{Members: first, Node: node(t)}, backup.Options{Dir: dir}); err != nil || !met {
			t.Fatalf("the first one: %v", err)
		}
	}
}

// node is a first control-plane node.
func node(t *testing.T) *remotetest.Fake {
	t.Helper()
	f := remotetest.New("cp1")
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, public, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	for name, text := range map[string]string{
		"admin.conf": "a key", "super-admin.conf": "the authority's key, nearly", "manifests/kube-apiserver.yaml": "kind: Pod",
		"pki/ca.crt": ca, "pki/ca.key": "the authority's key", "pki/etcd/ca.key": "the authority's key", "pki/front-proxy-ca.key": "the authority's key",
		"pki/private.crt": ca, "pki/private.key": "another authority's key",
		"pki/ca.key.bak": "the authority's key", "pki/ca.key.old": "the authority's key", "pki/ca.key~": "the authority's key", "pki/ca.key2": "the authority's key",
		"pki/ca-key.pem.bak": "the authority's key", "pki/.ca.key.swp": "the authority's key", "pki/private.key.bak": "another authority's key",
		"pki/moved.crt.old": ca, "pki/moved.key.old": "another authority's key", "pki/other.key.bak": "a key", "pki/africa.key": "a key",
		"pki/other.crt": "none", "pki/other.key": "a key",
		"pki/sa.key": "a key", "tmp/kubeadm-backup/old.conf": "the authority's key",
	} {
		f.Put(remote.File{Path: "/etc/kubernetes/" + name, Data: []byte(text), Mode: 0o600, Owner: "root:root"})
	}
	nodeShell(f)
	return f
}

// nodeShell plays the scripts that look at files.
func nodeShell(f *remotetest.Fake) {
	f.OnRun("find ", func(script string, _ []byte) (string, error) {
		var out strings.Builder
		real := f.Real("/etc/kubernetes/pki")
		fmt.Fprintln(&out, "real "+real)
		for _, dir := range []string{"/etc/kubernetes", "/etc/kubernetes/pki", real} {
			for name := range f.Snapshot() {
				if below, ok := strings.CutPrefix(name, f.Real(dir)+"/"); ok {
					fmt.Fprintln(&out, dir+"/"+below)
				}
			}
		}
		return out.String(), nil
	})
	f.OnRun("while IFS= read", func(_ string, stdin []byte) (string, error) {
		var out strings.Builder
		for name := range strings.Lines(string(stdin)) {
			dir, base := path.Split(strings.TrimSpace(name))
			file, there := f.Snapshot()[path.Join(f.Real(dir), base)]
			switch {
			case !there:
				fmt.Fprintln(&out, "absent")
			case file.Mode&fs.ModeSymlink != 0:
				fmt.Fprintf(&out, "link %s\n", file.Data)
			default:
				fmt.Fprintf(&out, "file %o root 0 root 0 %d %x \n", file.Mode, len(file.Data), sha256.Sum256(file.Data))
			}
		}
		return out.String(), nil
	})
}

// TestTakeUnpacked: what tar makes of the archive is what is on the node, also
// where the certificates folder is a link to one in /etc/kubernetes or elsewhere.
func TestTakeUnpacked(t *testing.T) {
	t.Parallel()
	tools := newTools(t)
	e := tools.start(t, "old", filepath.Join(t.TempDir(), "old"), tools.address(t), "")
	put(t, tools.client(t, e), "/registry/pods/a", "a") // an empty database has no revision
	for _, leads := range []string{"", "ssl", "/etc/kubernetes/ssl", "/opt/pki"} {
		f, real := node(t), "/etc/kubernetes/pki"
		if leads != "" {
			if real = leads; leads == "ssl" {
				real = "/etc/kubernetes/ssl"
			}
			for name, file := range f.Snapshot() {
				if below, ok := strings.CutPrefix(name, "/etc/kubernetes/pki/"); ok {
					file.Path = path.Join(real, below)
					f.Put(file)
				}
			}
			f.Delete("/etc/kubernetes/pki")
			f.Link("/etc/kubernetes/pki", leads)
		}
		dir := t.TempDir()
		set, err := backup.Take(t.Context(), backup.Source{Members: tools.reader(e), Node: f}, backup.Options{Dir: dir})
		if err != nil {
			t.Errorf("link to %q: %v", leads, err)
			continue
		}
		to := t.TempDir()
		tar := exec.CommandContext(t.Context(), "tar", "-xzf", set.Path(backup.ArchiveFile), "-C", to)
		if out, err := tar.CombinedOutput(); err != nil {
			t.Errorf("link to %q: %v: %s", leads, err, out)
		}
		for _, name := range []string{"ca.crt", "sa.key", "other.crt"} {
			want, err := f.ReadFile(t.Context(), path.Join(real, name))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(to, real, name)); err != nil || string(got) != string(want.Data) {
				t.Errorf("link to %q: %s is %q, %v", leads, name, got, err)
			}
		}
		if got, err := os.Readlink(filepath.Join(to, "etc/kubernetes/pki")); leads != "" && (err != nil || got != leads) {
			t.Errorf("link to %q: the link leads to %q, %v", leads, got, err)
		}
	}
}

// TestTakeWhileFilesChange: a file that changes each time it is read is left out
// and named; one that is gone when it is read ends no backup.
func TestTakeWhileFilesChange(t *testing.T) {
	t.Parallel()
	tools := newTools(t)
	e := tools.start(t, "old", filepath.Join(t.TempDir(), "old"), tools.address(t), "")
	put(t, tools.client(t, e), "/registry/pods/a", "a") // an empty database has no revision
	f := busy{node(t)}
	f.Put(remote.File{Path: "/etc/kubernetes/growing.txt", Data: []byte("1")})
	f.Put(remote.File{Path: "/etc/kubernetes/rotated.txt", Data: []byte("old")})
	var said []string
	set, err := backup.Take(t.Context(), backup.Source{Members: tools.reader(e), Node: f}, backup.Options{Dir: t.TempDir(), Say: func(s string) { said = append(said, s) }})
	if err != nil {
		t.Fatal(err)
	}
	if left := strings.Join(set.Kubernetes.LeftOut, "\n"); !strings.Contains(left, "growing.txt: it changes while it is read") || !strings.Contains(strings.Join(said, "\n"), "growing.txt is not in the archive") {
		t.Errorf("left out: %s; said %q", left, said)
	}
}

// busy is a node on which a file grows and another goes away while they are read.
type busy struct{ *remotetest.Fake }

func (b busy) ReadFile(ctx context.Context, p string) (remote.File, error) {
	if strings.HasSuffix(p, "rotated.txt") {
		b.Delete(p)
	}
	f, err := b.Fake.ReadFile(ctx, p)
	if strings.HasSuffix(p, "growing.txt") {
		b.Put(remote.File{Path: p, Data: append(slices.Clone(f.Data), '1')})
	}
	return f, err
}
