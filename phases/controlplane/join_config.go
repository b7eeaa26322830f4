package controlplane

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"time"

	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/kubeadm"
	"hamigrate/migrate/remote"
	"hamigrate/phases"

	"sigs.k8s.io/yaml"
)

// The configurations for kubeadm hold the token and the certificate key, so
// they are files of mode 0600 and are removed after the join; as arguments
// they would show in the process table.
const (
	joinFile      = hostfiles.StateDir + "/join.yaml"
	discoveryFile = hostfiles.StateDir + "/discovery.conf"
	uploadFile    = hostfiles.StateDir + "/upload-certs.yaml"
	// tokenLife is longer than any join and short enough for one that is
	// left behind by a crash.
	tokenLife = 20 * time.Minute
)

type joinSecrets struct {
	token          kube.BootstrapToken
	certificateKey string
}

// newSecrets makes them in kubeadm's forms: the token "[a-z0-9]{6}" and
// "[a-z0-9]{16}", the certificate key 32 bytes in hex.
func newSecrets() (joinSecrets, error) {
	id, err := tokenPart(6)
	if err != nil {
		return joinSecrets{}, err
	}
	secret, err := tokenPart(16)
	if err != nil {
		return joinSecrets{}, err
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return joinSecrets{}, fmt.Errorf("making the certificate key: %w", err)
	}
	return joinSecrets{kube.BootstrapToken{ID: id, Secret: secret}, hex.EncodeToString(key)}, nil
}

func tokenPart(n int) (string, error) {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyz"
	out := make([]byte, n)
	for i := range out {
		k, err := rand.Int(rand.Reader, big.NewInt(int64(len(letters))))
		if err != nil {
			return "", fmt.Errorf("making the bootstrap token: %w", err)
		}
		out[i] = letters[k.Int64()]
	}
	return string(out), nil
}

// joinWith uploads the certificates from the first node, makes the token and
// runs kubeadm on the target. kubeadm is told where the cluster is by a file: a
// join needs neither the ConfigMap cluster-info nor a right of everybody's.
func joinWith(ctx context.Context, h phases.Writer, k kube.Client, cc kube.ClusterConfiguration, s joinSecrets) error {
	if err := uploadCerts(ctx, h, cc, s.certificateKey); err != nil {
		return err
	}
	if err := k.CreateBootstrapToken(ctx, s.token, time.Now().Add(tokenLife)); err != nil {
		return err
	}
	ca, err := h.AdminCA(ctx)
	if err != nil {
		return err
	}
	address, err := h.APIAddress(ctx, h.Target())
	if err != nil {
		return err
	}
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("reading the API server's port: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("reading the API server's port: %w", err)
	}
	socket, err := kubeadm.CRISocket(ctx, h.On(h.First().Name))
	if err != nil {
		return err
	}
	config, err := joinDocument(h.Reader, cc, s, socket, port)
	if err != nil {
		return err
	}
	discovery, err := discoveryDocument(h.EndpointURL(), ca, s.token)
	if err != nil {
		return err
	}
	host := h.On(h.Target())
	for file, data := range map[string][]byte{discoveryFile: discovery, joinFile: config} {
		if err := host.WriteFile(ctx, remote.File{Path: file, Data: data, Mode: 0o600, Owner: "root:root"}); err != nil {
			return err
		}
	}
	if _, err := host.Run(ctx, phases.Detached("kubeadm-join", "kubeadm", "join", "--config", joinFile)); err != nil {
		return fmt.Errorf("joining %s: %w", h.Target(), err)
	}
	return nil
}

// uploadCerts needs the configuration: without etcd.external in it kubeadm
// leaves the etcd client certificate out and the join fails.
func uploadCerts(ctx context.Context, h phases.Writer, cc kube.ClusterConfiguration, key string) error {
	first := h.First()
	node := h.On(first.Name)
	socket, err := kubeadm.CRISocket(ctx, node)
	if err != nil {
		return err
	}
	config := fmt.Sprintf("apiVersion: %s\nkind: InitConfiguration\ncertificateKey: %s\nlocalAPIEndpoint: {advertiseAddress: %q}\nnodeRegistration: {name: %q, criSocket: %q}\n---\n%s",
		cc.APIVersion(), key, first.Address, first.Name, socket, cc)
	if err := node.WriteFile(ctx, remote.File{Path: uploadFile, Data: []byte(config), Mode: 0o600, Owner: "root:root"}); err != nil {
		return err
	}
	if _, err := node.Run(ctx, phases.Detached("kubeadm-upload-certs", "kubeadm", "init", "phase", "upload-certs", "--upload-certs", "--skip-certificate-key-print", "--config", uploadFile)); err != nil {
		return fmt.Errorf("uploading the certificates from %s: %w", first.Name, err)
	}
	return nil
}

// joinDocument is the JoinConfiguration. Its fields are the same in v1beta3
// and v1beta4. The runtime is the one that the first node's kubelet uses: where
// a host has two, kubeadm does not choose.
func joinDocument(v phases.Reader, cc kube.ClusterConfiguration, s joinSecrets, socket string, port int) ([]byte, error) {
	spec, self := v.Spec().ControlPlane.Join, v.Self()
	registration := map[string]any{"name": self.Name, "criSocket": socket}
	if len(spec.IgnorePreflightErrors) > 0 {
		registration["ignorePreflightErrors"] = spec.IgnorePreflightErrors
	}
	doc := map[string]any{
		"apiVersion": cc.APIVersion(),
		"kind":       "JoinConfiguration",
		"discovery": map[string]any{
			"file":              map[string]any{"kubeConfigPath": discoveryFile},
			"tlsBootstrapToken": s.token.ID + "." + s.token.Secret,
		},
		"nodeRegistration": registration,
		"controlPlane": map[string]any{
			"certificateKey":   s.certificateKey,
			"localAPIEndpoint": map[string]any{"advertiseAddress": self.Address, "bindPort": port},
		},
	}
	if spec.Patches != "" {
		doc["patches"] = map[string]any{"directory": spec.Patches}
	}
	return yaml.Marshal(doc)
}

// discoveryDocument is the kubeconfig by which kubeadm finds the cluster: the
// endpoint, the CA, and the token as its user. So nothing has to be open to
// everybody. kubeadm asks with these credentials for the ConfigMap cluster-info
// to prove the connection, and takes a 403 for the proof (kubeadm:
// discovery/file/file.go, ValidateConfigInfo): a bootstrap token may not read
// it. Without credentials it would ask as nobody, and where the API server
// answers 401 to nobody it tries for five minutes and gives up.
func discoveryDocument(server string, ca []byte, token kube.BootstrapToken) ([]byte, error) {
	const name = "kubernetes"
	return yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": name,
		"clusters": []any{map[string]any{"name": name, "cluster": map[string]any{"server": server, "certificate-authority-data": ca}}},
		"users":    []any{map[string]any{"name": name, "user": map[string]any{"token": token.ID + "." + token.Secret}}},
		"contexts": []any{map[string]any{"name": name, "context": map[string]any{"cluster": name, "user": name}}},
	})
}
