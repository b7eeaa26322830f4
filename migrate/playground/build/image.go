package build

import (
	"archive/tar"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// searchPath is PATH in every image: kubeadm's static pod manifests say
// `command: [kube-apiserver, …]`, without a folder.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// imageRecipe says what an image holds and how it starts.
type imageRecipe struct {
	Programs   map[string]string // name of the binary by its path in the image
	Entrypoint []string
	Command    []string
	User       string
	Tools      bool // on top of the network tools' file system
}

// imageRecipes returns how to make each image, by the last word of its name.
func imageRecipes() map[string]imageRecipe {
	recipes := map[string]imageRecipe{
		"etcd": {
			Programs: map[string]string{
				"/usr/local/bin/etcd": "etcd", "/usr/local/bin/etcdctl": "etcdctl", "/usr/local/bin/etcdutl": "etcdutl",
			},
			Command: []string{"/usr/local/bin/etcd"},
		},
		// Upstream runs as a user other than root and carries a file
		// capability to bind port 53. Root with the one capability that the
		// pod of kubeadm asks for (cmd/kubeadm/app/phases/addons/dns/manifests.go:
		// drop ALL, add NET_BIND_SERVICE, no runAsNonRoot) does the same and
		// needs no extended attributes of the disk that images are unpacked on.
		"coredns": {Programs: map[string]string{"/coredns": "coredns"}, Entrypoint: []string{"/coredns"}},
		// A user number other than 0, as upstream: the health job of `kubeadm
		// upgrade` has runAsNonRoot (cmd/kubeadm/app/phases/upgrade/health.go).
		"pause": {Programs: map[string]string{"/pause": "pause"}, Entrypoint: []string{"/pause"}, User: "65535:65535"},
	}
	for _, component := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		file := "/usr/local/bin/" + component
		recipes[component] = imageRecipe{
			Programs: map[string]string{file: component}, Entrypoint: []string{file}, Tools: component == "kube-proxy",
		}
	}
	return recipes
}

// recipeFor returns how to make the image of this name.
func recipeFor(image string) (imageRecipe, error) {
	component, _, err := splitImage(image)
	if err != nil {
		return imageRecipe{}, err
	}
	recipe, ok := imageRecipes()[component]
	if !ok {
		return imageRecipe{}, fmt.Errorf("kubeadm names an image that this program cannot make: %s", image)
	}
	return recipe, nil
}

// splitImage returns the last word of an image's repository, and its tag.
func splitImage(image string) (component, tag string, err error) {
	ref, err := name.NewTag(image, name.StrictValidation)
	if err != nil {
		return "", "", fmt.Errorf("reading the image name %q: %w", image, err)
	}
	return path.Base(ref.RepositoryStr()), ref.TagStr(), nil
}

// writeImage makes the image of recipe r as a docker-archive at file.
// binary returns the path of a binary by its name; base is the tar of the
// network tools, for recipes that want it. The same input gives the same
// bytes. scratch is a folder for the layer, which is as large as the image.
func writeImage(file, image string, r imageRecipe, binary func(string) string, base, scratch, arch string) error {
	layer := filepath.Join(scratch, "layer.tar")
	if err := writeLayer(layer, r.Programs, binary); err != nil {
		return fmt.Errorf("making the layer of %s: %w", image, err)
	}
	defer os.Remove(layer)
	layers := []string{layer}
	if r.Tools {
		layers = []string{base, layer}
	}
	img, err := assemble(r, layers, arch)
	if err != nil {
		return fmt.Errorf("making the image %s: %w", image, err)
	}
	tag, err := name.NewTag(image)
	if err != nil {
		return fmt.Errorf("reading the image name %q: %w", image, err)
	}
	if err := tarball.WriteToFile(file, tag, img); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return nil
}

// assemble makes an image of layers, the lowest first.
func assemble(r imageRecipe, layers []string, arch string) (v1.Image, error) {
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		Architecture: arch,
		OS:           "linux",
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Env:        []string{"PATH=" + searchPath},
			Entrypoint: r.Entrypoint,
			Cmd:        r.Command,
			User:       r.User,
			WorkingDir: "/",
		},
	})
	if err != nil {
		return nil, err
	}
	for _, file := range layers {
		layer, err := newFileLayer(file)
		if err != nil {
			return nil, err
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			return nil, err
		}
	}
	return img, nil
}

// writeLayer writes a tar with the programs and the folders above them, all
// owned by root, and a /tmp.
func writeLayer(file string, programs map[string]string, binary func(string) string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	folders := map[string]int64{"tmp": 0o1777}
	for inside := range programs {
		for dir := path.Dir(strings.TrimPrefix(inside, "/")); dir != "."; dir = path.Dir(dir) {
			folders[dir] = 0o755
		}
	}
	for _, dir := range sortedKeys(folders) { // a parent sorts before its children
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: folders[dir], ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
	}
	for _, inside := range sortedKeys(programs) {
		if err := addProgram(w, strings.TrimPrefix(inside, "/"), binary(programs[inside])); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}

// addProgram adds one executable file.
func addProgram(w *tar.Writer, inside, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header := tar.Header{Typeflag: tar.TypeReg, Name: inside, Mode: 0o755, Size: info.Size(), ModTime: time.Unix(0, 0)}
	if err := w.WriteHeader(&header); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

// fileLayer is a layer that is a tar on disk. It stays uncompressed, which
// the library's own layers cannot: images are imported on every host of a
// playground, and unpacking gzip there costs more than the disk space here.
type fileLayer struct {
	file string
	hash v1.Hash
	size int64
}

var _ v1.Layer = (*fileLayer)(nil)

func newFileLayer(file string) (*fileLayer, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return nil, err
	}
	return &fileLayer{file: file, hash: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}, size: size}, nil
}

func (l *fileLayer) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l *fileLayer) DiffID() (v1.Hash, error)             { return l.hash, nil }
func (l *fileLayer) Compressed() (io.ReadCloser, error)   { return os.Open(l.file) }
func (l *fileLayer) Uncompressed() (io.ReadCloser, error) { return os.Open(l.file) }
func (l *fileLayer) Size() (int64, error)                 { return l.size, nil }
func (l *fileLayer) MediaType() (types.MediaType, error)  { return types.DockerUncompressedLayer, nil }

// sortedKeys returns the keys of m in order.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
