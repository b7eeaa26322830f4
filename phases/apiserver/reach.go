// Package apiserver is what is done with one API server of a control-plane
// node: it is reached on its own node, told from others, stopped without a
// failed request, paused, and given its old manifest back by a timer.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"

	"hamigrate/migrate/kube"
	"hamigrate/phases"

	"k8s.io/client-go/rest"
)

// ConfigAt reaches the API server that listens on a port of a node, on that
// node, past the redirect where it listens on 127.0.0.1 as well.
func ConfigAt(ctx context.Context, v phases.Reader, node string, port int) (*rest.Config, error) {
	cfg, err := v.AdminConfigOn(ctx, node)
	if err != nil {
		return nil, err
	}
	host, err := listens(ctx, v, node)
	if err != nil {
		return nil, err
	}
	to := net.JoinHostPort(host, strconv.Itoa(port))
	cfg.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return v.On(node).DialContext(ctx, network, to)
	}
	return cfg, nil
}

// listens is the address at which the API server of a node is reached on that
// node itself: 127.0.0.1, or the one address of --bind-address. The manifest
// says it, since the process may be away for the moment; where the manifest is
// away, the process does. The second API server has the same.
func listens(ctx context.Context, v phases.Reader, node string) (string, error) {
	file, err := v.APIServerManifest(ctx, node)
	if err == nil {
		m, err := kube.ParseManifest(file.Data)
		if err != nil {
			return "", fmt.Errorf("on %s, %s: %w", node, file.Path, err)
		}
		return listenAddress(m.Flags()), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	p, _, err := v.APIServer(ctx, node)
	if err != nil {
		return "", err
	}
	return listenAddress(p.Flags), nil
}

// listenAddress is where an API server is asked on its own node: at the loopback
// where it listens at every address.
func listenAddress(flags kube.Flags) string {
	bind, _ := flags.Get("bind-address")
	ip := net.ParseIP(bind)
	if ip == nil || flags.ListensEverywhere() {
		return "127.0.0.1"
	}
	return ip.String()
}

// Config reaches the API server of a node, past any redirect.
func Config(ctx context.Context, v phases.Reader, node string) (*rest.Config, error) {
	address, err := v.APIAddress(ctx, node)
	if err != nil {
		return nil, err
	}
	port, err := portOf(address)
	if err != nil {
		return nil, err
	}
	return ConfigAt(ctx, v, node, port)
}

// Readyz asks the API server of a node, past any redirect.
func Readyz(ctx context.Context, v phases.Reader, node string) error {
	cfg, err := Config(ctx, v, node)
	if err != nil {
		return err
	}
	return kube.Readyz(ctx, cfg)
}

// portOf is the port of host:port.
func portOf(address string) (int, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}
