package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeTools makes small files in no time and notes what it was asked for.
type fakeTools struct {
	mu        sync.Mutex
	calls     []string
	images    string                                      // what kubeadm prints; "" for images1363
	onCompile func(ctx context.Context, dir string) error // runs after the files are there
}

const images1363 = `registry.k8s.io/kube-apiserver:v1.36.3
registry.k8s.io/kube-controller-manager:v1.36.3
registry.k8s.io/kube-scheduler:v1.36.3
registry.k8s.io/kube-proxy:v1.36.3
registry.k8s.io/coredns/coredns:v1.14.2
registry.k8s.io/pause:3.10.2
registry.k8s.io/etcd:3.6.8-0
`

func (f *fakeTools) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

// made returns what was compiled or unpacked, in order.
func (f *fakeTools) made() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *fakeTools) ready(context.Context, plan) error { return nil }

func (f *fakeTools) compile(ctx context.Context, m module, dir string, compiled func()) error {
	names := binaryNames([]module{m})
	f.note("compile %s", strings.Join(names, " "))
	for i := range m.Compiled {
		if i%100 == 0 {
			compiled()
		}
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("the program "+name), 0o755); err != nil {
			return err
		}
	}
	if f.onCompile != nil {
		return f.onCompile(ctx, dir)
	}
	return nil
}

func (f *fakeTools) packages(_ context.Context, file string) error {
	f.note("packages")
	return writeLayer(file, map[string]string{"/usr/sbin/iptables": "iptables"}, func(string) string { return os.DevNull })
}

func (f *fakeTools) output(_ context.Context, program string, args ...string) (string, error) {
	if filepath.Base(program) != "kubeadm" {
		return "", fmt.Errorf("unexpected program %s", program)
	}
	switch strings.Join(args, " ") {
	case "version -o short":
		return "v1.36.3\n", nil
	case "config images list --kubernetes-version v1.36.3":
		if f.images != "" {
			return f.images, nil
		}
		return images1363, nil
	}
	return "", fmt.Errorf("unexpected arguments %q", args)
}

// entries returns the names in a folder.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// write makes a file and the folders above it.
func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}
