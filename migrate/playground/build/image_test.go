package build

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// imageFor writes an image of fake binaries and reads it back.
func imageFor(t *testing.T, image string) (file string, img v1.Image) {
	t.Helper()
	dir := t.TempDir()
	recipe, err := recipeFor(image)
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range recipe.Programs {
		write(t, filepath.Join(dir, program), "the program "+program)
	}
	base := filepath.Join(dir, "base.tar")
	if err := writeLayer(base, map[string]string{"/usr/sbin/iptables": "x"}, func(string) string { return os.DevNull }); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "image.tar")
	binary := func(b string) string { return filepath.Join(dir, b) }
	if err := writeImage(file, image, recipe, binary, base, dir, "amd64"); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(image)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = tarball.ImageFromPath(file, &tag); err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Errorf("%s: %v", image, err)
	}
	return file, img
}

// listing returns one line an entry of an image's layers, the lowest first.
func listing(t *testing.T, img v1.Image) []string {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		r := tar.NewReader(content)
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if h.Uid != 0 || h.Gid != 0 || len(h.PAXRecords) > 0 {
				t.Errorf("%s is of %d:%d with records %v, want root and none", h.Name, h.Uid, h.Gid, h.PAXRecords)
			}
			lines = append(lines, strings.TrimSpace(h.FileInfo().Mode().String()+" "+h.Name+" "+string(text)))
		}
	}
	return lines
}

func TestImages(t *testing.T) {
	t.Parallel()
	folders := []string{"dtrwxrwxrwx tmp/", "drwxr-xr-x usr/", "drwxr-xr-x usr/local/", "drwxr-xr-x usr/local/bin/"}
	local := func(programs ...string) []string {
		lines := append([]string{}, folders...)
		for _, p := range programs {
			lines = append(lines, "-rwxr-xr-x usr/local/bin/"+p+" the program "+p)
		}
		return lines
	}
	network := []string{"dtrwxrwxrwx tmp/", "drwxr-xr-x usr/", "drwxr-xr-x usr/sbin/", "-rwxr-xr-x usr/sbin/iptables"}
	for image, want := range map[string]struct {
		entries    []string
		entrypoint []string
		command    []string
		user       string
	}{
		"registry.k8s.io/kube-apiserver:v1.36.3":          {local("kube-apiserver"), []string{"/usr/local/bin/kube-apiserver"}, nil, ""},
		"registry.k8s.io/kube-controller-manager:v1.36.3": {local("kube-controller-manager"), []string{"/usr/local/bin/kube-controller-manager"}, nil, ""},
		"registry.k8s.io/kube-scheduler:v1.36.3":          {local("kube-scheduler"), []string{"/usr/local/bin/kube-scheduler"}, nil, ""},
		"registry.k8s.io/kube-proxy:v1.36.3":              {append(network, local("kube-proxy")...), []string{"/usr/local/bin/kube-proxy"}, nil, ""},
		"registry.k8s.io/etcd:3.6.8-0":                    {local("etcd", "etcdctl", "etcdutl"), nil, []string{"/usr/local/bin/etcd"}, ""},
		"registry.k8s.io/coredns/coredns:v1.14.2":         {[]string{"-rwxr-xr-x coredns the program coredns", "dtrwxrwxrwx tmp/"}, []string{"/coredns"}, nil, ""},
		"registry.k8s.io/pause:3.10.2":                    {[]string{"-rwxr-xr-x pause the program pause", "dtrwxrwxrwx tmp/"}, []string{"/pause"}, nil, "65535:65535"},
	} {
		t.Run(strings.ReplaceAll(image, "/", "_"), func(t *testing.T) {
			t.Parallel()
			_, img := imageFor(t, image)
			got, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if got.OS != "linux" || got.Architecture != "amd64" {
				t.Errorf("made for %s/%s", got.OS, got.Architecture)
			}
			wantConfig := v1.Config{
				Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
				Entrypoint: want.entrypoint, Cmd: want.command, User: want.user, WorkingDir: "/",
			}
			if diff := cmp.Diff(wantConfig, got.Config); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
			entries := listing(t, img)
			less := cmp.Transformer("set", func(in []string) map[string]int {
				set := map[string]int{}
				for _, line := range in {
					set[line]++
				}
				return set
			})
			if diff := cmp.Diff(want.entries, entries, less); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParentsComeBeforeChildren(t *testing.T) {
	t.Parallel()
	_, img := imageFor(t, "registry.k8s.io/etcd:3.6.8-0")
	seen := map[string]bool{".": true}
	for _, line := range listing(t, img) {
		path := strings.Fields(line)[1]
		parent := filepath.Dir(strings.TrimSuffix(path, "/"))
		if !seen[parent] {
			t.Errorf("%s comes before the folder it is in", path)
		}
		seen[strings.TrimSuffix(path, "/")] = true
	}
}

func TestSameInputSameImage(t *testing.T) {
	t.Parallel()
	read := func() []byte {
		file, _ := imageFor(t, "registry.k8s.io/kube-proxy:v1.36.3")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if !bytes.Equal(read(), read()) {
		t.Error("two images of the same input differ")
	}
}

func TestVersionsOf(t *testing.T) {
	t.Parallel()
	got, err := versionsOf(strings.Fields(images1363))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Artifacts{Kubernetes: "1.36.3", Etcd: "3.6.8-0", CoreDNS: "v1.14.2", Pause: "3.10.2"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, names := range []string{"", "registry.k8s.io/etcd:3.6.8-0", "what is this"} {
		if _, err := versionsOf(strings.Fields(names)); err == nil {
			t.Errorf("%q: got no error", names)
		}
	}
}
