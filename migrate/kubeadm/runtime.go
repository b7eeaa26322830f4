package kubeadm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/process"
	"hamigrate/migrate/remote"

	"sigs.k8s.io/yaml"
)

// defaultCRISocket is the kubelet's default (kubernetes:
// pkg/kubelet/apis/config/v1beta1/defaults.go) and kubeadm's (constants.
// DefaultCRISocket).
const defaultCRISocket = "unix:///run/containerd/containerd.sock"

// The files that a kubelet of kubeadm's is configured by.
const (
	kubeletConfig = "/var/lib/kubelet/config.yaml"
	kubeletFlags  = "/var/lib/kubelet/kubeadm-flags.env"
)

// CRISocket is the socket of the container runtime that a node's kubelet uses,
// as a URL. It is named in every configuration that kubeadm gets: without it
// kubeadm looks for sockets, and stops where it finds two (kubeadm:
// util/runtime.DetectCRISocket).
//
// A flag of the kubelet wins over its configuration file, which kubeadm writes
// the socket to since 1.34; before, kubeadm wrote it to kubeadm-flags.env.
func CRISocket(ctx context.Context, node remote.Reader) (string, error) {
	running, err := process.Find(ctx, node, "kubelet")
	if err != nil {
		return "", err
	}
	var flags kube.Flags
	if len(running) > 0 {
		flags = running[0].Flags
	} else if flags, err = flagsFile(ctx, node); err != nil {
		return "", err
	}
	if socket, ok := flags.Get("container-runtime-endpoint"); ok && socket != "" {
		return socketURL(socket), nil
	}
	file, ok := flags.Get("config")
	if !ok || !path.IsAbs(file) {
		file = kubeletConfig
	}
	config, err := node.ReadFile(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return defaultCRISocket, nil
	}
	if err != nil {
		return "", err
	}
	var found struct {
		ContainerRuntimeEndpoint string `json:"containerRuntimeEndpoint"`
	}
	if err := yaml.Unmarshal(config.Data, &found); err != nil {
		return "", fmt.Errorf("reading %s on %s: %w", file, node.Name(), err)
	}
	if found.ContainerRuntimeEndpoint == "" {
		return defaultCRISocket, nil
	}
	return socketURL(found.ContainerRuntimeEndpoint), nil
}

// flagsFile reads what a kubelet that does not run would be started with.
func flagsFile(ctx context.Context, node remote.Reader) (kube.Flags, error) {
	f, err := node.ReadFile(ctx, kubeletFlags)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	_, args, _ := strings.Cut(string(f.Data), "KUBELET_KUBEADM_ARGS=")
	args, _, _ = strings.Cut(args, "\n")
	return kube.ParseFlags(strings.Fields(strings.Trim(args, `"'`))), nil
}

// socketURL: a path without a scheme is accepted by old kubelets; kubeadm
// wants the scheme.
func socketURL(socket string) string {
	if strings.Contains(socket, "://") {
		return socket
	}
	return "unix://" + socket
}

// SocketPath is the path of a socket's URL.
func SocketPath(socket string) string { return strings.TrimPrefix(socket, "unix://") }
