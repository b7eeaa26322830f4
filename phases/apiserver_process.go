package phases

import (
	"context"
	"fmt"
	"net"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/process"
)

// APIServer finds the running API server of a control-plane node; false
// means that none runs at this moment. A second one, started for an overlap,
// listens on another port.
func (v Reader) APIServer(ctx context.Context, node string) (process.Running, bool, error) {
	address, err := v.APIAddress(ctx, node)
	if err != nil {
		return process.Running{}, false, err
	}
	_, want, err := net.SplitHostPort(address)
	if err != nil {
		return process.Running{}, false, fmt.Errorf("finding the API server on %s: %w", node, err)
	}
	list, err := process.Find(ctx, v.On(node), "kube-apiserver")
	if err != nil {
		return process.Running{}, false, err
	}
	for _, p := range list {
		if port, ok := p.Flags.Get("secure-port"); port == want || !ok && want == "6443" {
			return p, true, nil
		}
	}
	return process.Running{}, false, nil
}

// EtcdFiles are the files the API server uses as a client of etcd.
type EtcdFiles struct{ CAFile, CertFile, KeyFile string }

// EtcdFiles reads their paths from the first API server's manifest.
func (v Reader) EtcdFiles(ctx context.Context) (EtcdFiles, error) {
	first := v.On(v.First().Name)
	file, err := readManifest(ctx, first, APIServerManifest)
	if err != nil {
		return EtcdFiles{}, err
	}
	m, err := kube.ParseManifest(file.Data)
	if err != nil {
		return EtcdFiles{}, fmt.Errorf("on %s: %w", first.Name(), err)
	}
	var f EtcdFiles
	f.CAFile, _ = m.Flags().Get("etcd-cafile")
	f.CertFile, _ = m.Flags().Get("etcd-certfile")
	f.KeyFile, _ = m.Flags().Get("etcd-keyfile")
	if f.CAFile == "" || f.CertFile == "" || f.KeyFile == "" {
		return EtcdFiles{}, fmt.Errorf("on %s, kube-apiserver.yaml: --etcd-cafile, --etcd-certfile and --etcd-keyfile must all be set; this tool only handles etcd with TLS", first.Name())
	}
	return f, nil
}
