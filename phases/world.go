// Package phases is what the three phases share: the read and change handles
// their steps get (View and Hands), how the hosts, the API servers and the
// etcd members are reached, and the invariants between any two steps.
//
// Each phase is a package of its own below this one; phase.go there lists the
// steps in order, and every step is a file named after it.
package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcd"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Step and Phase are the engine's, over the handles of this package.
type (
	Step  = migrate.Step[View, Hands]
	Phase = migrate.Phase[View, Hands]
)

// Strategy is how an API server is restarted.
type Strategy string

// The strategies: beside a second API server that answers meanwhile, or
// plainly, with the outage that the plan names.
const (
	Overlap Strategy = "overlap"
	InPlace Strategy = "in-place"
)

// StateDir is the folder on every host that holds what this tool keeps there:
// backups of files it changed and the archive of the old etcd member. Mode
// 0700; nothing in it is read by kubelet, nginx or etcd.
const StateDir = "/var/lib/migrate"

// AdminConf is the first control-plane node's admin kubeconfig.
const AdminConf = "/etc/kubernetes/admin.conf"

// Hosts gives connections to hosts; sshhost.Pool is one.
type Hosts interface {
	Host(context.Context, cluster.Host) (remote.Host, error)
}

// World is one run's connections to the real cluster. It implements
// migrate.Env.
type World struct {
	spec  cluster.Spec
	hosts Hosts

	mu      sync.Mutex
	admin   []byte
	configs map[string]*rest.Config
	clients map[string]kube.Client
	apiPort string // of the API servers, once it was read
	workers []cluster.Host
	etcd    *etcd.Cluster
	etcdKey string // its endpoints
	// etcdBefore are those of other endpoints, oldest first.
	etcdBefore []*etcd.Cluster
	oldEtcd    string // where the old member answered clients when last looked for
	wasReady   map[string]bool
	hashed     map[string]hashed // by host:path, see Digest
	contents   map[string][]byte // by checksum, see Content
	trail      bool              // its folder is there
	asked      asked
	pods       Pods
	tell       func(string)    // see UseAsk
	askWait    time.Duration   // see UseAsk
	stop       <-chan struct{} // ends the waits that may be ended
	alone      chan struct{}   // see Alone
	askers     []*asker        // see Together

	waited atomic.Int64 // nanoseconds in which programs of others ran

	hearing sync.Mutex
	onWait  func(error) // see OnWait
}

// NewWorld makes a World; it connects to a host when a step first needs it.
func NewWorld(spec cluster.Spec, hosts Hosts) *World {
	return &World{spec: spec, hosts: hosts, configs: map[string]*rest.Config{}, clients: map[string]kube.Client{},
		hashed: map[string]hashed{}, contents: map[string][]byte{}, alone: make(chan struct{}, 1)}
}

// Close closes the etcd connections; the host connections belong to Hosts.
func (w *World) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, c := range w.etcdBefore {
		errs = append(errs, c.Close())
	}
	if w.etcd != nil {
		errs = append(errs, w.etcd.Close())
	}
	return errors.Join(errs...)
}

// View and Hands bind a step's handles to a target.
func (w *World) View(target string) View { return View{world: w, target: target} }

// Hands binds the changing handles to a target.
func (w *World) Hands(target string) Hands { return Hands{View: w.View(target)} }

// Targets lists the names of a selector's targets.
func (w *World) Targets(ctx context.Context, s migrate.Selector) ([]string, error) {
	switch s {
	case migrate.Once:
		return []string{"cluster"}, nil
	case migrate.FirstControlPlane:
		return []string{w.spec.ControlPlane.First.Name}, nil
	case migrate.JoiningControlPlanes:
		return names(w.spec.ControlPlane.Joining), nil
	case migrate.ControlPlanes:
		return w.findControlPlanes(ctx)
	case migrate.EtcdHosts:
		return names(w.spec.Etcd.Hosts), nil
	case migrate.LoadBalancers:
		return names(w.spec.LoadBalancer.Hosts), nil
	case migrate.Workers:
		workers, err := w.findWorkers(ctx)
		return names(workers), err
	}
	return nil, fmt.Errorf("listing targets: unknown selector %q", s)
}

func names(hosts []cluster.Host) []string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.Name)
	}
	return out
}

// findWorkers returns the spec's workers, or every Node that is neither in
// the spec's control plane nor marked as control plane.
func (w *World) findWorkers(ctx context.Context) ([]cluster.Host, error) {
	if w.spec.Workers != nil {
		return w.spec.Workers, nil
	}
	w.mu.Lock()
	known := w.workers
	w.mu.Unlock()
	if known != nil {
		return known, nil
	}
	nodes, err := w.View("cluster").Nodes(ctx)
	if err != nil {
		return nil, err
	}
	found := []cluster.Host{}
	for name, n := range nodes {
		if name == w.spec.ControlPlane.First.Name || slices.Contains(names(w.spec.ControlPlane.Joining), name) || kube.IsControlPlane(n) {
			continue
		}
		found = append(found, cluster.Host{Name: name, Address: kube.InternalIP(n), SSH: w.spec.SSH})
	}
	slices.SortFunc(found, func(a, b cluster.Host) int { return strings.Compare(a.Name, b.Name) })
	w.mu.Lock()
	w.workers = found
	w.mu.Unlock()
	return found, nil
}

// host finds a host of the spec or a found worker by name.
func (w *World) host(name string) (cluster.Host, error) {
	w.mu.Lock()
	workers := w.workers
	w.mu.Unlock()
	groups := [][]cluster.Host{{w.spec.ControlPlane.First}, w.spec.ControlPlane.Joining,
		w.spec.LoadBalancer.Hosts, w.spec.Etcd.Hosts, w.spec.Workers, workers}
	for _, g := range groups {
		for _, h := range g {
			if h.Name == name {
				return h, nil
			}
		}
	}
	return cluster.Host{}, fmt.Errorf("host %q is in no list of the spec", name)
}

// View is what Check and Verify get: it can look at everything and change
// nothing.
type View struct {
	world  *World
	target string
}

// Hands is what Apply and Undo get.
type Hands struct{ View }

// World binds other targets; a step that needs a neighbour's view uses it.
func (v View) World() *World { return v.world }

// Spec is the spec the run is for.
func (v View) Spec() cluster.Spec { return v.world.spec }

// Target is the name of the host the step is for, or "cluster".
func (v View) Target() string { return v.target }

// Self is the target's entry in the spec.
func (v View) Self() cluster.Host {
	h, err := v.world.host(v.target)
	if err != nil {
		return cluster.Host{Name: v.target}
	}
	return h
}

// First is the first control-plane node.
func (v View) First() cluster.Host { return v.world.spec.ControlPlane.First }

// Workers lists the workers.
func (v View) Workers(ctx context.Context) ([]cluster.Host, error) { return v.world.findWorkers(ctx) }

// On is a host by name, for looking. It connects on first use.
func (v View) On(name string) remote.Reader { return lazyHost{v.world, name} }

// On is a host by name, for changing. It connects on first use.
func (h Hands) On(name string) remote.Host { return lazyHost{h.world, name} }

// APIAddress is host:port of the API server on a control-plane node. All of
// them listen on the first one's port, kubeadm's default unless its manifest
// says otherwise.
func (v View) APIAddress(ctx context.Context, node string) (string, error) {
	h, err := v.world.host(node)
	if err != nil {
		return "", err
	}
	port, err := v.world.apiServerPort(ctx)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(h.Address, port), nil
}

// apiServerPort is read from the manifest once: no step changes it, and the
// clients of the API servers are kept for the whole run as well.
func (w *World) apiServerPort(ctx context.Context) (string, error) {
	w.mu.Lock()
	port := w.apiPort
	w.mu.Unlock()
	if port != "" {
		return port, nil
	}
	first := w.View("cluster").On(w.spec.ControlPlane.First.Name)
	file, err := readParked(ctx, first, APIServerManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return defaultAPIPort, nil
	}
	if err != nil {
		return "", err
	}
	m, err := kube.ParseManifest(file.Data)
	if err != nil {
		return "", fmt.Errorf("on %s: %w", first.Name(), err)
	}
	port, ok := m.Flags().Get("secure-port")
	if !ok {
		port = defaultAPIPort
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.apiPort = port
	return port, nil
}

// defaultAPIPort is kubeadm's (apis/kubeadm/v1beta4: DefaultAPIBindPort).
const defaultAPIPort = "6443"

// restConfig reaches the API server of one control-plane node, from there.
func (w *World) restConfig(ctx context.Context, node string) (*rest.Config, error) {
	w.mu.Lock()
	cfg, admin := w.configs[node], w.admin
	w.mu.Unlock()
	if cfg != nil {
		return cfg, nil
	}
	v := w.View(node)
	if admin == nil {
		f, err := v.On(v.First().Name).ReadFile(ctx, AdminConf)
		if err != nil {
			return nil, err
		}
		admin = f.Data
	}
	address, err := v.APIAddress(ctx, node)
	if err != nil {
		return nil, err
	}
	cfg, err = kube.RESTConfig(admin, address, v.On(node).DialContext)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.admin, w.configs[node] = admin, cfg
	w.mu.Unlock()
	return cfg, nil
}

// kube keeps one client for each API server: every clientset made with a dial
// function of its own opens a connection of its own.
func (w *World) kube(ctx context.Context, node string) (kube.Client, error) {
	w.mu.Lock()
	client, known := w.clients[node]
	w.mu.Unlock()
	if known {
		return client, nil
	}
	cfg, err := w.restConfig(ctx, node)
	if err != nil {
		return kube.Client{}, fmt.Errorf("reaching the API server on %s: %w", node, err)
	}
	api, err := kubernetes.NewForConfig(w.tellingOf(cfg, node))
	if err != nil {
		return kube.Client{}, fmt.Errorf("reaching the API server on %s: %w", node, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clients[node] = kube.NewClient(api)
	return w.clients[node], nil
}

// Kube reads the cluster's objects through the first API server.
func (v View) Kube(ctx context.Context) (kube.Reader, error) {
	c, err := v.world.kube(ctx, v.First().Name)
	return c.Reader, err
}

// Nodes are the cluster's nodes by name, from the first API server.
func (v View) Nodes(ctx context.Context) (map[string]corev1.Node, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	return k.Nodes(ctx)
}

// KubeOn reads through the API server of a control-plane node.
func (v View) KubeOn(ctx context.Context, node string) (kube.Reader, error) {
	c, err := v.world.kube(ctx, node)
	return c.Reader, err
}

// Kube changes the cluster's objects through the first API server.
func (h Hands) Kube(ctx context.Context) (kube.Client, error) {
	return h.world.kube(ctx, h.First().Name)
}

// AdminCA returns the cluster's CA certificates, PEM, from the admin
// kubeconfig.
func (v View) AdminCA(ctx context.Context) ([]byte, error) {
	cfg, err := v.world.restConfig(ctx, v.First().Name)
	if err != nil {
		return nil, err
	}
	return cfg.CAData, nil
}

// AdminConfig returns a client configuration for the API server of the first
// control-plane node. It holds the admin's key: never print or store it.
func (v View) AdminConfig(ctx context.Context) (*rest.Config, error) {
	cfg, err := v.world.restConfig(ctx, v.First().Name)
	if err != nil {
		return nil, err
	}
	return rest.CopyConfig(cfg), nil
}

// AdminConfigOn is AdminConfig for the API server of another control-plane
// node, reached from that node.
func (v View) AdminConfigOn(ctx context.Context, node string) (*rest.Config, error) {
	cfg, err := v.world.restConfig(ctx, node)
	if err != nil {
		return nil, err
	}
	return rest.CopyConfig(cfg), nil
}
