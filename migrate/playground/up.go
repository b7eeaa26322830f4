package playground

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"hamigrate/migrate/playground/build"
)

// make makes everything, from the cached parts to a ready cluster with its
// objects.
func (p *Playground) make(ctx context.Context) (*Playground, error) {
	artifacts, store, err := p.prepare(ctx)
	if err != nil {
		// Nothing of this playground's own is there yet but its folder.
		p.events = func(string) {}
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return nil, errors.Join(err, p.down(clean))
	}
	if err := p.makeAll(ctx, artifacts, store); err != nil {
		return nil, err
	}
	p.state.Ready = true
	if err := p.save(); err != nil {
		return nil, err
	}
	return p, p.fill(ctx)
}

// makeAll makes the playground itself.
func (p *Playground) makeAll(ctx context.Context, artifacts build.Artifacts, store string) error {
	if err := p.phase("making the network", func() error {
		return p.startNetwork(ctx)
	}); err != nil {
		return err
	}
	if err := p.phase(fmt.Sprintf("making %d hosts", len(p.hosts)), func() error {
		return p.makeHosts(ctx, artifacts, store)
	}); err != nil {
		return err
	}
	if err := p.phase("booting them", func() error {
		return each(ctx, p.hosts, len(p.hosts), p.startHost)
	}); err != nil {
		return err
	}
	return p.makeCluster(ctx)
}

// prepare makes what is shared with other playgrounds and outlives this one.
func (p *Playground) prepare(ctx context.Context) (artifacts build.Artifacts, store string, err error) {
	// Side by side: building takes the processors, the root file systems take
	// the network.
	parts := []func(context.Context) error{
		func(ctx context.Context) (err error) { artifacts, err = p.ensureArtifacts(ctx); return err },
		func(ctx context.Context) (err error) {
			p.state.Base, err = p.ensureBase(ctx, debianRelease)
			return err
		},
	}
	if p.state.veteran() {
		parts = append(parts, func(ctx context.Context) (err error) {
			p.state.NewerBase, err = p.ensureBase(ctx, newerRelease)
			return err
		})
	}
	err = each(ctx, parts, len(parts), func(ctx context.Context, part func(context.Context) error) error { return part(ctx) })
	if err != nil {
		return artifacts, "", err
	}
	p.state.Kubernetes = strings.TrimPrefix(artifacts.Kubernetes, "v")
	if store, err = p.ensureStore(ctx, artifacts); err != nil {
		return artifacts, "", err
	}
	return artifacts, store, p.save()
}

// makeHosts writes the folders of all hosts.
func (p *Playground) makeHosts(ctx context.Context, a build.Artifacts, store string) error {
	if err := p.makeLayer(ctx, a.BinDir); err != nil {
		return err
	}
	key, err := p.writeIdentity(ctx)
	if err != nil {
		return err
	}
	err = each(ctx, p.hosts, runtime.NumCPU(), func(ctx context.Context, h Host) error {
		if err := p.writeHost(ctx, h, pauseImage(a)); err != nil {
			return err
		}
		if err := p.authorize(h, key); err != nil {
			return err
		}
		if !h.kubernetes() {
			return nil
		}
		return p.linkStore(ctx, h, store)
	})
	if err != nil {
		return err
	}
	return p.writeKnownHosts()
}

// makeCluster turns booted hosts into a cluster, and writes the files that
// lead to it.
func (p *Playground) makeCluster(ctx context.Context) error {
	data, err := p.clusterData()
	if err != nil {
		return err
	}
	if err := p.phase("kubeadm init on "+data.First.Name, func() error { return p.initCluster(ctx, data) }); err != nil {
		return err
	}
	if err := p.phase("joining the workers", func() error { return p.joinWorkers(ctx, data) }); err != nil {
		return err
	}
	if err := p.afterJoins(ctx, data.First); err != nil {
		return err
	}
	if err := p.phase("waiting for nodes, kube-proxy and CoreDNS", func() error { return p.waitReady(ctx) }); err != nil {
		return err
	}
	if err := p.writeKubeconfig(); err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	spec, err := p.spec(data.Ignore)
	if err != nil {
		return err
	}
	return renameio.WriteFile(p.SpecFile(), []byte(spec), 0o644)
}

// phase says what is being done and how long it took.
func (p *Playground) phase(what string, do func() error) error {
	p.events(what)
	began := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if took := time.Since(began); took >= time.Second {
		p.events(fmt.Sprintf("%s: done in %.1fs", what, took.Seconds()))
	}
	return nil
}

// loadModules loads what nodes need of the kernel. Where it is built in, or
// there is no modprobe, the nodes' own errors say what is missing.
func loadModules(ctx context.Context) {
	if _, err := exec.LookPath("modprobe"); err != nil {
		return
	}
	for _, module := range []string{"overlay", "br_netfilter", "nf_conntrack"} {
		if _, err := os.Stat("/sys/module/" + module); err != nil {
			_, _ = run(ctx, "modprobe", module)
		}
	}
}
