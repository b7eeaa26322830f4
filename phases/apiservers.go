package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync"

	"hamigrate/migrate/kube"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// apiServers are the ways to each API server, made when first needed and kept for
// the whole run.
type apiServers struct {
	mu      sync.Mutex
	admin   []byte // the admin kubeconfig of the first control-plane node
	configs map[string]*rest.Config
	clients map[string]kube.Client
	port    string // of all of them, once it was read
}

// APIAddress is host:port of the API server on a control-plane node. All of
// them listen on the first one's port, kubeadm's default unless its manifest
// says otherwise.
func (v Reader) APIAddress(ctx context.Context, node string) (string, error) {
	h, err := v.access.host(node)
	if err != nil {
		return "", err
	}
	port, err := v.access.apiServerPort(ctx)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(h.Address, port), nil
}

// apiServerPort is read from the manifest once: no step changes it, and the
// clients of the API servers are kept for the whole run as well.
func (w *Access) apiServerPort(ctx context.Context) (string, error) {
	w.api.mu.Lock()
	port := w.api.port
	w.api.mu.Unlock()
	if port != "" {
		return port, nil
	}
	first := w.Reader("cluster").On(w.spec.ControlPlane.First.Name)
	file, err := readManifest(ctx, first, APIServerManifest)
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
	w.api.mu.Lock()
	defer w.api.mu.Unlock()
	w.api.port = port
	return port, nil
}

// defaultAPIPort is kubeadm's (apis/kubeadm/v1beta4: DefaultAPIBindPort).
const defaultAPIPort = "6443"

// restConfig reaches the API server of one control-plane node, from there.
func (w *Access) restConfig(ctx context.Context, node string) (*rest.Config, error) {
	w.api.mu.Lock()
	cfg, admin := w.api.configs[node], w.api.admin
	w.api.mu.Unlock()
	if cfg != nil {
		return cfg, nil
	}
	v := w.Reader(node)
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
	w.api.mu.Lock()
	w.api.admin, w.api.configs[node] = admin, cfg
	w.api.mu.Unlock()
	return cfg, nil
}

// kube keeps one client for each API server: every clientset made with a dial
// function of its own opens a connection of its own.
func (w *Access) kube(ctx context.Context, node string) (kube.Client, error) {
	w.api.mu.Lock()
	client, known := w.api.clients[node]
	w.api.mu.Unlock()
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
	w.api.mu.Lock()
	defer w.api.mu.Unlock()
	w.api.clients[node] = kube.NewClient(api)
	return w.api.clients[node], nil
}

// Kube reads the cluster's objects through the first API server.
func (v Reader) Kube(ctx context.Context) (kube.Reader, error) {
	c, err := v.access.kube(ctx, v.First().Name)
	return c.Reader, err
}

// Nodes are the cluster's nodes by name, from the first API server.
func (v Reader) Nodes(ctx context.Context) (map[string]corev1.Node, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	return k.Nodes(ctx)
}

// KubeOn reads through the API server of a control-plane node.
func (v Reader) KubeOn(ctx context.Context, node string) (kube.Reader, error) {
	c, err := v.access.kube(ctx, node)
	return c.Reader, err
}

// Kube changes the cluster's objects through the first API server.
func (h Writer) Kube(ctx context.Context) (kube.Client, error) {
	return h.access.kube(ctx, h.First().Name)
}

// AdminCA returns the cluster's CA certificates, PEM, from the admin
// kubeconfig.
func (v Reader) AdminCA(ctx context.Context) ([]byte, error) {
	cfg, err := v.access.restConfig(ctx, v.First().Name)
	if err != nil {
		return nil, err
	}
	return cfg.CAData, nil
}

// AdminConfig returns a client configuration for the API server of the first
// control-plane node. It holds the admin's key: never print or store it.
func (v Reader) AdminConfig(ctx context.Context) (*rest.Config, error) {
	cfg, err := v.access.restConfig(ctx, v.First().Name)
	if err != nil {
		return nil, err
	}
	return rest.CopyConfig(cfg), nil
}

// AdminConfigOn is AdminConfig for the API server of another control-plane
// node, reached from that node.
func (v Reader) AdminConfigOn(ctx context.Context, node string) (*rest.Config, error) {
	cfg, err := v.access.restConfig(ctx, node)
	if err != nil {
		return nil, err
	}
	return rest.CopyConfig(cfg), nil
}
