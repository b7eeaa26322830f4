package build

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// staticELF is the least that debug/elf reads as a program without a loader:
// a header of 64 bytes and no program headers.
func staticELF() string {
	header := make([]byte, 64)
	copy(header, "\x7fELF\x02\x01\x01")
	header[16], header[18], header[20] = 2, 62, 1 // executable, x86-64, version 1
	header[52], header[54], header[58] = 64, 56, 64
	return string(header)
}

// givenFolder is a complete folder of ready-made binaries.
func givenFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, program := range append(kubernetesPrograms(), "etcd", "etcdctl", "etcdutl", "coredns", "pause") {
		write(t, filepath.Join(dir, program), staticELF())
	}
	return dir
}

func TestGivenBinariesAreUsed(t *testing.T) {
	t.Parallel()
	given, fake := givenFolder(t), &fakeTools{}
	if err := os.Remove(filepath.Join(given, "kubectl")); err != nil {
		t.Fatal(err)
	}
	r := Request{CacheDir: t.TempDir(), BinDir: given}
	got, err := ensure(context.Background(), r, fake)
	if err != nil {
		t.Fatal(err)
	}
	if got.Kubernetes != "1.36.3" || len(got.Images) != 7 {
		t.Errorf("artifacts: %+v", got)
	}
	if diff := cmp.Diff([]string{"etcd", "etcdctl", "etcdutl", "kubeadm", "kubelet"}, entries(t, got.BinDir)); diff != "" {
		t.Errorf("programs for hosts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"packages"}, fake.made()); diff != "" {
		t.Errorf("made (-want +got):\n%s", diff)
	}

	// A binary that was replaced makes the images again.
	stamp := filepath.Join(r.CacheDir, "cluster-1.36.3-given", stampFile)
	before, err := os.ReadFile(stamp)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(given, "etcd"), time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := ensure(context.Background(), r, fake); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(stamp)
	if err != nil {
		t.Fatal(err)
	}
	if string(before) == string(after) {
		t.Error("the images were not made again")
	}
}

func TestGivenFoldersThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, version string
		harm          func(t *testing.T, dir string)
		want          []string
	}{
		{"incomplete", "", func(t *testing.T, dir string) {
			for _, program := range []string{"etcd", "pause"} {
				if err := os.Remove(filepath.Join(dir, program)); err != nil {
					t.Fatal(err)
				}
			}
		}, []string{"lacks etcd, pause"}},
		{"other version", "1.35.4", func(*testing.T, string) {}, []string{"1.35.4 is wanted", "is of 1.36.3"}},
		{"no program", "", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "etcd"), "#!/bin/sh\n") }, []string{"etcd"}},
		{"dynamic", "", func(t *testing.T, dir string) {
			sh, err := os.ReadFile("/bin/sh")
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "kubelet"), string(sh))
		}, []string{"kubelet is dynamically linked", "CGO_ENABLED=0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			given := givenFolder(t)
			tt.harm(t, given)
			_, err := ensure(context.Background(), Request{Kubernetes: tt.version, CacheDir: t.TempDir(), BinDir: given}, &fakeTools{})
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range append(tt.want, given) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}
