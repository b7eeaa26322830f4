package playground

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hamigrate/migrate/playground/build"
	"hamigrate/migrate/remote"
)

// reportEvery is how often the building of the binaries is heard of.
const reportEvery = 15 * time.Second

// ensureArtifacts returns the binaries and images, built on first use.
func (p *Playground) ensureArtifacts(ctx context.Context) (build.Artifacts, error) {
	var mu sync.Mutex
	var title string
	var last time.Time
	return build.Ensure(ctx, build.Request{
		Kubernetes: p.state.Kubernetes,
		CacheDir:   p.state.CacheDir,
		BinDir:     p.state.BinDir,
		Progress: func(e build.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Title == title && time.Since(last) < reportEvery {
				return
			}
			title, last = e.Title, time.Now()
			message := fmt.Sprintf("%s (%d of %d)", e.Title, e.Part, e.Parts)
			if e.Left > 0 {
				message += fmt.Sprintf(", about %s left", e.Left.Round(time.Second))
			}
			p.events(message)
		},
	})
}

// ensureStore returns a containerd folder that has the images in it, made on
// first use: importing them costs seconds a host, linking a folder does not.
func (p *Playground) ensureStore(ctx context.Context, a build.Artifacts) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, p.state.Base) // its containerd is what fills the store
	for _, image := range a.Images {
		info, err := os.Stat(image.Tar)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(sum, image.Name, info.Size(), info.ModTime().UnixNano())
	}
	store := filepath.Join(p.state.CacheDir, "images-"+p.state.Kubernetes+"-"+hex.EncodeToString(sum.Sum(nil)[:6]))
	return store, p.ensureCached(ctx, store, func(ctx context.Context, made string) error {
		p.events("unpacking the images (once)")
		if err := p.importImages(ctx, a.Images, made); err != nil {
			return err
		}
		return p.pruneStores(store)
	})
}

// importImages runs the base's containerd over a folder and lets it unpack
// the images there.
func (p *Playground) importImages(ctx context.Context, images []build.Image, folder string) error {
	words := []string{
		// In namespaces of its own, so that neither a process nor a mount
		// outlives an interruption.
		"--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
		"systemd-nspawn", "--volatile=overlay", "--register=no", "--keep-unit", "--private-network", "--resolv-conf=off",
		"--timezone=off", "--link-journal=no", "--pipe", "--quiet",
		"--machine=" + filepath.Base(filepath.Dir(folder)), "--directory=" + p.state.Base, "--bind=" + folder + ":/var/lib/containerd",
	}
	script := "set -e\ncontainerd --log-level warn &\n" +
		"for i in $(seq 600); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done\n"
	for i, image := range images {
		inside := fmt.Sprintf("/image-%d.tar", i)
		words = append(words, "--bind-ro="+image.Tar+":"+inside)
		script += remote.Cmd("ctr", "--namespace=k8s.io", "images", "import", inside).Script + "\n"
	}
	for _, image := range images {
		// An image under another name than kubeadm's would be missed only by
		// a kubelet, minutes later.
		script += "ctr --namespace=k8s.io images ls -q | grep -qxF " + remote.Quote(image.Name) + "\n"
	}
	script += "kill $!; wait $! || true\n"
	_, err := run(ctx, "unshare", append(words, "/bin/sh", "-c", script)...)
	return err
}

// pruneStores removes the stores that another build of the same images has
// made useless. Hosts have links or copies of their own.
func (p *Playground) pruneStores(store string) error {
	stores, err := filepath.Glob(filepath.Join(p.state.CacheDir, "images-"+p.state.Kubernetes+"-*"))
	if err != nil {
		return err
	}
	for _, old := range stores {
		if old == store || filepath.Ext(old) == making {
			continue
		}
		if err := os.RemoveAll(old); err != nil {
			return err
		}
	}
	return nil
}

// linkStore gives a host a copy of the store. Blobs and unpacked layers are
// never written again by containerd, so they are hard links where the cache is
// on the same file system; its databases are copied.
func (p *Playground) linkStore(ctx context.Context, h Host, store string) error {
	target := p.rootFile(h, "/var/lib/containerd")
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	if _, err := run(ctx, "cp", "-al", store, target); err != nil {
		if err := os.RemoveAll(target); err != nil {
			return err
		}
		_, err := run(ctx, "cp", "-a", store, target)
		return err
	}
	return filepath.WalkDir(target, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(path) != ".db" || strings.Contains(path, "/snapshots/") {
			return err
		}
		return unlink(path)
	})
}

// unlink makes a file with several names one of its own.
func unlink(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.WriteFile(path, data, info.Mode().Perm())
}

// makeLayer fills the overlay layer that nodes have above the base.
func (p *Playground) makeLayer(ctx context.Context, binDir string) error {
	bin := filepath.Join(p.layerDir(), "usr/bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"kubelet", "kubeadm", "kubectl"} {
		from := filepath.Join(binDir, name)
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
			return &UserError{
				Problem: fmt.Sprintf("%s has no %s", binDir, name),
				Remedy:  "put one there that fits the other binaries",
			}
		}
		if _, err := run(ctx, "cp", "--reflink=auto", from, filepath.Join(bin, name)); err != nil {
			return err
		}
		if err := os.Chmod(filepath.Join(bin, name), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// pauseImage is the name of the pause image, for containerd's sandboxes.
func pauseImage(a build.Artifacts) string {
	for _, image := range a.Images {
		if strings.Contains(image.Name, "/pause:") {
			return image.Name
		}
	}
	return "registry.k8s.io/pause:" + a.Pause
}
