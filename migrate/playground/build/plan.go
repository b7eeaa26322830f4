package build

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// edition is part of every digest. Raise it when a change of this package's
// code changes what is made without changing a recipe.
const edition = 1

//go:embed pause/main.go.txt
var pauseSource string

// What the parts took with empty Go caches on two otherwise idle processors,
// in seconds.
const (
	kubernetesSeconds = 270
	etcdSeconds       = 25
	coreDNSSeconds    = 105
	pauseSeconds      = 1
	networkSeconds    = 35
	clusterSeconds    = 5
)

// Versions returns the Kubernetes versions whose modules can all be had, as
// in Request.Kubernetes.
func Versions() []string { return []string{"1.33.13", "1.34.4", "1.35.4", "1.36.3"} }

// plan is a checked request.
type plan struct {
	kubernetes string
	given      string // Request.BinDir
	cacheDir   string
	folder     string // of the result, in the cache
	digest     string // of everything that decides what the result is
}

// newPlan checks r.
func newPlan(ctx context.Context, r Request, t tools) (plan, error) {
	p := plan{kubernetes: r.Kubernetes, given: r.BinDir, cacheDir: r.CacheDir, folder: "cluster-" + r.Kubernetes}
	recipe := []any{edition, runtime.GOARCH, networkArgs("", ""), imageRecipes()}
	if r.BinDir == "" {
		if !slices.Contains(Versions(), r.Kubernetes) {
			return plan{}, fmt.Errorf("Kubernetes %q cannot be built from Go modules: choose one of %s, or name a folder with ready-made binaries",
				r.Kubernetes, strings.Join(Versions(), ", "))
		}
		// Which etcd, CoreDNS and pause these are follows from the version.
		recipe = append(recipe, kubernetesModule(r.Kubernetes), etcdTools(), etcdModules(""), coreDNSModule(""), pauseModule("", pauseSource))
	} else {
		version, files, err := checkGiven(ctx, r, t)
		if err != nil {
			return plan{}, err
		}
		p.kubernetes, p.folder = version, "cluster-"+version+"-given"
		recipe = append(recipe, version, r.BinDir, files)
	}
	digest, err := digestOf(recipe...)
	p.digest = digest
	return p, err
}

// seconds returns what each part takes, for progress.
func (p plan) seconds() []int {
	if p.given != "" {
		return []int{networkSeconds, clusterSeconds}
	}
	return []int{kubernetesSeconds, etcdSeconds, coreDNSSeconds, pauseSeconds, networkSeconds, clusterSeconds}
}

// finished returns the artifacts if the cache holds them whole.
func (p plan) finished() (Artifacts, bool) {
	dir := filepath.Join(p.cacheDir, p.folder)
	if !whole(dir, p.digest) {
		return Artifacts{}, false
	}
	text, err := os.ReadFile(filepath.Join(dir, artifactsFile))
	if err != nil {
		return Artifacts{}, false
	}
	var arts Artifacts
	if json.Unmarshal(text, &arts) != nil {
		return Artifacts{}, false
	}
	for i := range arts.Images {
		arts.Images[i].Tar = filepath.Join(dir, arts.Images[i].Tar)
	}
	arts.BinDir = filepath.Join(dir, "bin")
	return arts, true
}

// make makes every part, the cluster last.
func (p plan) make(ctx context.Context, c cache, t tools, m *meter) error {
	stop := m.run()
	defer stop()
	where, names, err := p.binaries(ctx, c, t, m)
	if err != nil {
		return err
	}
	network, err := networkPart(t)
	if err != nil {
		return err
	}
	networkDir, err := c.ensure(ctx, network, m)
	if err != nil {
		return err
	}
	_, err = c.ensure(ctx, part{
		folder: p.folder, title: "Make the images of Kubernetes " + p.kubernetes, seconds: clusterSeconds, digest: p.digest,
		make: func(ctx context.Context, dir string, advance func(float64)) error {
			return writeCluster(ctx, dir, names, where, filepath.Join(networkDir, networkFile), advance)
		},
	}, m)
	return err
}

// binaries builds what is not given. It returns where a binary is, by its
// name, and the names of the images.
func (p plan) binaries(ctx context.Context, c cache, t tools, m *meter) (where func(string) string, names []string, err error) {
	if p.given != "" {
		names, err := imageNames(ctx, t, filepath.Join(p.given, "kubeadm"), p.kubernetes)
		return func(b string) string { return filepath.Join(p.given, b) }, names, err
	}
	folders := map[string]string{}
	add := func(folder, title, version string, seconds int, modules ...module) error {
		made, err := programs(t, folder+"-"+version, "Build "+title+" "+version, seconds, modules)
		if err != nil {
			return err
		}
		dir, err := c.ensure(ctx, made, m)
		for _, program := range binaryNames(modules) {
			folders[program] = dir
		}
		return err
	}
	if err := add("kubernetes", "Kubernetes", p.kubernetes, kubernetesSeconds, kubernetesModule(p.kubernetes)); err != nil {
		return nil, nil, err
	}
	if names, err = imageNames(ctx, t, filepath.Join(folders["kubeadm"], "kubeadm"), p.kubernetes); err != nil {
		return nil, nil, err
	}
	v, err := versionsOf(names)
	if err != nil {
		return nil, nil, err
	}
	etcd, _, _ := strings.Cut(v.Etcd, "-") // 3.6.8-0 is the first image of etcd 3.6.8
	coreDNS := strings.TrimPrefix(v.CoreDNS, "v")
	if err := add("etcd", "etcd", etcd, etcdSeconds, etcdModules(etcd)...); err != nil {
		return nil, nil, err
	}
	if err := add("coredns", "CoreDNS", coreDNS, coreDNSSeconds, coreDNSModule(coreDNS)); err != nil {
		return nil, nil, err
	}
	if err := add("pause", "pause", v.Pause, pauseSeconds, pauseModule(v.Pause, pauseSource)); err != nil {
		return nil, nil, err
	}
	return func(b string) string { return filepath.Join(folders[b], b) }, names, nil
}

// programs is the part that holds the programs of modules.
func programs(t tools, folder, title string, seconds int, modules []module) (part, error) {
	digest, err := digestOf(edition, runtime.GOARCH, modules)
	total := 0
	for _, m := range modules {
		total += m.Compiled
	}
	return part{
		folder: folder, title: title, seconds: seconds, digest: digest,
		make: func(ctx context.Context, dir string, advance func(float64)) error {
			n := 0
			for _, m := range modules {
				err := t.compile(ctx, m, dir, func() {
					n++
					// Linking comes after the last package.
					advance(min(0.9*float64(n)/float64(total), 0.95))
				})
				if err != nil {
					return err
				}
			}
			return nil
		},
	}, err
}

// binaryNames returns what the programs of modules are called here.
func binaryNames(modules []module) []string {
	var names []string
	for _, m := range modules {
		for _, pkg := range m.Packages {
			// `go build` skips a major version at the end of a package's path.
			program := path.Base(strings.TrimSuffix(pkg, "/v3"))
			if to, ok := m.Rename[program]; ok {
				program = to
			}
			names = append(names, program)
		}
	}
	return names
}
