package controlplane

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"strings"
	"time"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"
)

// The configurations for kubeadm hold the token and the certificate key, so
// they are files of mode 0600 and are removed after the join; as arguments
// they would show in the process table.
const (
	joinFile   = phases.StateDir + "/join.yaml"
	uploadFile = phases.StateDir + "/upload-certs.yaml"
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
// runs kubeadm on the target.
func joinWith(ctx context.Context, h phases.Hands, k kube.Client, cc kube.ClusterConfiguration, s joinSecrets) error {
	if err := uploadCerts(ctx, h, cc, s.certificateKey); err != nil {
		return err
	}
	if err := k.CreateBootstrapToken(ctx, s.token, time.Now().Add(tokenLife)); err != nil {
		return err
	}
	signed := h.World().Waiting()
	err := waitForSignature(ctx, k, s.token)
	signed()
	if err != nil {
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
	config, err := joinDocument(h.View, cc, s, ca, port)
	if err != nil {
		return err
	}
	host := h.On(h.Target())
	if err := host.WriteFile(ctx, remote.File{Path: joinFile, Data: config, Mode: 0o600, Owner: "root:root"}); err != nil {
		return err
	}
	if _, err := host.Run(ctx, phases.Detached("kubeadm-join", "kubeadm", "join", "--config", joinFile)); err != nil {
		return fmt.Errorf("joining %s: %w", h.Target(), err)
	}
	return nil
}

// uploadCerts needs the configuration: without etcd.external in it kubeadm
// leaves the etcd client certificate out and the join fails.
func uploadCerts(ctx context.Context, h phases.Hands, cc kube.ClusterConfiguration, key string) error {
	first := h.First()
	config := fmt.Sprintf("apiVersion: %s\nkind: InitConfiguration\ncertificateKey: %s\nlocalAPIEndpoint: {advertiseAddress: %q}\nnodeRegistration: {name: %q, criSocket: %q}\n---\n%s",
		cc.APIVersion(), key, first.Address, first.Name, phases.CRISocket, cc)
	node := h.On(first.Name)
	if err := node.WriteFile(ctx, remote.File{Path: uploadFile, Data: []byte(config), Mode: 0o600, Owner: "root:root"}); err != nil {
		return err
	}
	if _, err := node.Run(ctx, phases.Detached("kubeadm-upload-certs", "kubeadm", "init", "phase", "upload-certs", "--upload-certs", "--skip-certificate-key-print", "--config", uploadFile)); err != nil {
		return fmt.Errorf("uploading the certificates from %s: %w", first.Name, err)
	}
	return nil
}

// waitForSignature waits until cluster-info is signed with the new token.
func waitForSignature(ctx context.Context, k kube.Client, t kube.BootstrapToken) error {
	last := errors.New("it was never read")
	err := wait.PollUntilContextTimeout(ctx, 500*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		cm, err := k.ConfigMap(ctx, "kube-public", "cluster-info")
		if err != nil {
			last = err
			return false, nil
		}
		last = errors.New("the controller manager has not signed it")
		return t.Signs(cm.Data["jws-kubeconfig-"+t.ID], cm.Data["kubeconfig"]), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for cluster-info to be signed with the new token: %w", errors.Join(err, last))
	}
	return nil
}

// joinDocument is the JoinConfiguration. Its fields are the same in v1beta3
// and v1beta4.
func joinDocument(v phases.View, cc kube.ClusterConfiguration, s joinSecrets, ca []byte, port int) ([]byte, error) {
	hashes, err := caHashes(ca)
	if err != nil {
		return nil, err
	}
	spec, self := v.Spec().ControlPlane.Join, v.Self()
	registration := map[string]any{"name": self.Name}
	if len(spec.IgnorePreflightErrors) > 0 {
		registration["ignorePreflightErrors"] = spec.IgnorePreflightErrors
	}
	doc := map[string]any{
		"apiVersion": cc.APIVersion(),
		"kind":       "JoinConfiguration",
		"discovery": map[string]any{"bootstrapToken": map[string]any{
			"apiServerEndpoint": v.EndpointAddress(),
			"token":             s.token.ID + "." + s.token.Secret,
			"caCertHashes":      hashes,
		}},
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

// caHashes pins the cluster's CA as kubeadm does (util/pubkeypin).
func caHashes(ca []byte) ([]string, error) {
	var out []string
	for block, rest := pem.Decode(bytes.TrimSpace(ca)); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading the cluster's CA: %w", err)
		}
		sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		out = append(out, "sha256:"+strings.ToLower(hex.EncodeToString(sum[:])))
	}
	if len(out) == 0 {
		return nil, errors.New("reading the cluster's CA: there is no certificate in it")
	}
	return out, nil
}
