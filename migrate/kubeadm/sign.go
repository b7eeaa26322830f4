// Package kubeadm is what this program has done by the program kubeadm on a host:
// certificates signed where the CA keys are, and the settings of a node that kubeadm
// keeps there.
package kubeadm

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
)

// Signing is one set of leaf certificates that kubeadm is to sign on the
// first control-plane node, where the CA keys live and stay.
type Signing struct {
	// Dir is the scratch folder on the node, below StateDir; it is made again.
	Dir string
	// Config is the ClusterConfiguration to sign with; its certificatesDir
	// is set to the scratch folder.
	Config kube.ClusterConfiguration
	// NodeName and Address go into the certificates (kubeadm's
	// localAPIEndpoint).
	NodeName, Address string
	// CA names the CA below the certificates folder: "ca" or "etcd/ca".
	CA string
	// Phases are kubeadm's: "apiserver", "etcd-server", "etcd-peer".
	Phases []string
}

// Sign lets kubeadm sign into the scratch folder and returns the folder with
// the certificates. The CA's files are symbolic links there, so its key is
// neither copied nor moved. Signing into a scratch folder leaves the node's
// own certificates whole at every instant, which moving them aside does not.
func Sign(ctx context.Context, h remote.Host, s Signing) (pki string, err error) {
	real := s.Config.CertificatesDir()
	pki = path.Join(s.Dir, "pki")
	s.Config.SetCertificatesDir(pki)
	config := path.Join(s.Dir, "kubeadm.yaml")
	socket, err := CRISocket(ctx, h)
	if err != nil {
		return "", err
	}
	prepare := fmt.Sprintf(`set -eu; umask 077; rm -rf %[1]s; mkdir -p %[2]s
ln -s %[3]s.crt %[4]s.crt; ln -s %[3]s.key %[4]s.key; cat >%[5]s`,
		remote.Quote(s.Dir), remote.Quote(path.Dir(path.Join(pki, s.CA))),
		remote.Quote(path.Join(real, s.CA)), remote.Quote(path.Join(pki, s.CA)), remote.Quote(config))
	if _, err := h.Run(ctx, remote.Command{Script: prepare, Stdin: []byte(s.document(socket))}); err != nil {
		return "", fmt.Errorf("preparing %s for signing: %w", s.Dir, err)
	}
	for _, p := range s.Phases {
		if _, err := h.Run(ctx, remote.Program("kubeadm", "init", "phase", "certs", p, "--config", config)); err != nil {
			return "", fmt.Errorf("signing the %s certificate for %s: %w", p, s.NodeName, err)
		}
	}
	return pki, nil
}

// document is the configuration file for kubeadm. Signing never connects to the
// runtime's socket.
func (s Signing) document(socket string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: %s\nkind: InitConfiguration\n", s.Config.APIVersion())
	fmt.Fprintf(&b, "localAPIEndpoint: {advertiseAddress: %q}\nnodeRegistration: {name: %q, criSocket: %q}\n---\n",
		s.Address, s.NodeName, socket)
	b.WriteString(s.Config.String())
	return b.String()
}

// CertificatesFolders lists the names under which the certificates folder of
// kubeadm-config is known on a node: its own, kubeadm's usual one, and where
// these lead. Kubespray has /etc/kubernetes/ssl with a link to it at
// /etc/kubernetes/pki; people make a link of /etc/kubernetes itself.
func CertificatesFolders(ctx context.Context, node remote.Reader, cc kube.ClusterConfiguration) ([]string, error) {
	out := []string{path.Clean(cc.CertificatesDir())}
	script := "for d in " + remote.Quote(out[0]) + " " + kube.DefaultCertificatesDir + `; do readlink -f "$d" || :; done`
	text, err := node.Look(ctx, remote.Command{Script: script})
	if err != nil {
		return nil, fmt.Errorf("looking where %s leads on %s: %w", out[0], node.Name(), err)
	}
	for _, dir := range append([]string{kube.DefaultCertificatesDir}, strings.Fields(text)...) {
		if !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	return out, nil
}

// What a person does on the first control-plane node to have a configuration for
// `kubeadm init phase`, in the words of a playbook.
const (
	// SocketByHand is the runtime's socket, where CRISocket looks too.
	SocketByHand = `$(grep -ho 'unix://[^" ]*' /var/lib/kubelet/kubeadm-flags.env /var/lib/kubelet/config.yaml | head -n 1)`
	// ConfigByHand writes $HOME/kubeadm.yaml: what kubeadm-config says, and whose
	// certificates and manifests they are to be. The files are for root alone, as
	// kubeadm-config holds secrets where extraEnvs do.
	ConfigByHand = "(umask 077; kubectl -n kube-system get cm kubeadm-config -o jsonpath='{.data.ClusterConfiguration}' > $HOME/cluster.yaml)\n" +
		"(umask 077; { grep ^apiVersion: $HOME/cluster.yaml; echo kind: InitConfiguration; echo 'localAPIEndpoint: {advertiseAddress: {{.First.Address}}}'; " +
		"echo \"nodeRegistration: {name: {{.First.Name}}, criSocket: " + SocketByHand + "}\"; echo ---; cat $HOME/cluster.yaml; } > $HOME/kubeadm.yaml)\n"
)
