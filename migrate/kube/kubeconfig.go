package kube

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Server returns the API server URL that a kubeconfig's clients use: that of
// the current context's cluster, or of the only cluster where there is no
// context (cluster-info has none).
func Server(kubeconfig []byte) (string, error) {
	node, err := serverNode(kubeconfig)
	if err != nil {
		return "", err
	}
	return node.Value, nil
}

// SetServer returns the kubeconfig with that URL replaced and every other
// byte kept. Certificates and their paths are not touched: a rotated kubelet
// certificate is a symbolic link that must stay one.
func SetServer(kubeconfig []byte, url string) ([]byte, error) {
	node, err := serverNode(kubeconfig)
	if err != nil {
		return nil, err
	}
	out, err := replaceScalar(kubeconfig, node, url)
	if err != nil {
		return nil, fmt.Errorf("replacing the server of the kubeconfig: %w", err)
	}
	if got, err := Server(out); err != nil || got != url {
		return nil, fmt.Errorf("replacing the server of the kubeconfig: read back %q", got)
	}
	return out, nil
}

func serverNode(kubeconfig []byte) (*yaml.Node, error) {
	top, err := parseDocument(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	clusters := child(top, "clusters")
	if clusters == nil || len(clusters.Content) == 0 {
		return nil, fmt.Errorf("reading the kubeconfig: it has no cluster")
	}
	want, named := currentCluster(top)
	for _, c := range clusters.Content {
		if named && value(child(c, "name")) != want {
			continue
		}
		if !named && len(clusters.Content) > 1 {
			return nil, fmt.Errorf("reading the kubeconfig: several clusters and no current context")
		}
		if server := child(child(c, "cluster"), "server"); server != nil {
			return server, nil
		}
	}
	return nil, fmt.Errorf("reading the kubeconfig: no server for cluster %q", want)
}

// currentCluster follows current-context to its cluster's name.
func currentCluster(top *yaml.Node) (string, bool) {
	current := value(child(top, "current-context"))
	contexts := child(top, "contexts")
	if current == "" || contexts == nil {
		return "", false
	}
	for _, c := range contexts.Content {
		if value(child(c, "name")) == current {
			return value(child(child(c, "context"), "cluster")), true
		}
	}
	return "", false
}

func value(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	return n.Value
}
