package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Request says what is wanted and where it is kept.
type Request struct {
	// Kubernetes is the version, without v: one of Versions(). With BinDir
	// it may be empty, and must otherwise be that of the kubeadm in there.
	Kubernetes string
	// CacheDir is the folder for everything made; it is created if missing
	// and reused by later calls. It must not be empty.
	CacheDir string
	// BinDir, if not empty, is a folder with ready-made, statically linked
	// binaries that are used instead of building: kube-apiserver,
	// kube-controller-manager, kube-scheduler, kube-proxy, kubelet, kubeadm,
	// etcd, etcdctl, etcdutl, coredns and pause; kubectl may be missing.
	BinDir string
	// Progress, if not nil, is called as things go on, one call at a time.
	// It must not block.
	Progress func(Event)
}

// Event is one report of progress. Done never falls within a call of Ensure,
// and reaches Total when everything is there.
type Event struct {
	Title       string        // what is being done, such as "Build Kubernetes 1.36.3"
	Part, Parts int           // which of how many parts this is, from 1
	Done, Total int           // work, in seconds of the machine it was measured on
	Left        time.Duration // expected time left, at the pace seen so far
}

// Image is one container image, as a file.
type Image struct {
	Name string // as kubeadm names it: registry.k8s.io/kube-apiserver:v1.36.3
	Tar  string // path of a docker-archive with this one image, for `ctr -n k8s.io images import`
}

// Artifacts is what a cluster is started from. All paths are absolute.
type Artifacts struct {
	// Versions as in the image tags; Kubernetes is without v. The programs
	// are of these versions, but for the etcdctl and etcdutl of Kubernetes
	// 1.33.13, which are of 3.5.35: those of 3.5.24 are not published.
	Kubernetes, Etcd, CoreDNS, Pause string
	// BinDir is a folder with kubelet, kubeadm, etcd, etcdctl, etcdutl and,
	// unless a Request.BinDir lacked it, kubectl: static binaries for hosts
	// and tests.
	BinDir string
	// Images are those `kubeadm config images list` names, in its order.
	Images []Image
}

// Ensure returns the artifacts for r, making first what the cache lacks.
//
// Only one call at a time makes something in a cache folder, across
// processes; the others wait for it. When ctx ends, the commands under way
// are stopped and nothing half-made is left under a final name.
//
// Errors are sentences about what to change where the user can: an
// unsupported version, a missing or too old Go, a missing package, a full
// disk, an incomplete BinDir. A compiler's error carries its last lines.
func Ensure(ctx context.Context, r Request) (Artifacts, error) {
	return ensure(ctx, r, hostTools{})
}

// tools is what the machine does for this package; tests replace it.
type tools interface {
	// ready says, in a sentence, what the machine lacks for building.
	ready(ctx context.Context, p plan) error
	// compile builds a module's programs into folder dir and calls compiled
	// for each package compiled.
	compile(ctx context.Context, m module, dir string, compiled func()) error
	// packages writes a file system with the network tools as a tar.
	packages(ctx context.Context, file string) error
	// output runs a program and returns its standard output.
	output(ctx context.Context, program string, args ...string) (string, error)
}

func ensure(ctx context.Context, r Request, t tools) (Artifacts, error) {
	if err := r.absolute(); err != nil {
		return Artifacts{}, err
	}
	p, err := newPlan(ctx, r, t)
	if err != nil {
		return Artifacts{}, err
	}
	if arts, ok := p.finished(); ok {
		return arts, nil
	}
	if err := os.MkdirAll(r.CacheDir, 0o755); err != nil {
		return Artifacts{}, fmt.Errorf("making the cache folder: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(r.CacheDir, "lock"), func() {
		newMeter(r.Progress, p).begin("Wait for another build in "+r.CacheDir, 0)
	})
	if err != nil {
		return Artifacts{}, err
	}
	defer unlock()
	if arts, ok := p.finished(); ok { // made while this call waited
		return arts, nil
	}
	if err := t.ready(ctx, p); err != nil {
		return Artifacts{}, err
	}
	c := cache{dir: r.CacheDir}
	if err := c.sweep(); err != nil {
		return Artifacts{}, err
	}
	m := newMeter(r.Progress, p)
	if err := p.make(ctx, c, t, m); err != nil {
		return Artifacts{}, err
	}
	arts, ok := p.finished()
	if !ok {
		return Artifacts{}, fmt.Errorf("the cache folder %s was changed while it was being filled: run again", r.CacheDir)
	}
	m.finish("Ready: Kubernetes " + arts.Kubernetes)
	return arts, nil
}

// absolute makes the folders' paths absolute: commands run in folders of
// their own, where a relative path would mean something else.
func (r *Request) absolute() error {
	if r.CacheDir == "" {
		return errors.New("no cache folder given: name a folder with some gigabytes free")
	}
	for _, dir := range []*string{&r.CacheDir, &r.BinDir} {
		if *dir == "" {
			continue
		}
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return fmt.Errorf("finding the present folder: %w", err)
		}
		*dir = abs
	}
	return nil
}

// exists tells whether a file is there.
func exists(file string) bool {
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist)
}
