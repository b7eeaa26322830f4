package simulator

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// clusterConfiguration is what is read of kubeadm's.
type clusterConfiguration struct {
	APIVersion           string `json:"apiVersion"`
	Kind                 string `json:"kind"`
	CertificatesDir      string `json:"certificatesDir"`
	ControlPlaneEndpoint string `json:"controlPlaneEndpoint"`
	KubernetesVersion    string `json:"kubernetesVersion"`
	APIServer            struct {
		CertSANs []string `json:"certSANs"`
		componentConfiguration
	} `json:"apiServer"`
	ControllerManager componentConfiguration `json:"controllerManager"`
	Scheduler         componentConfiguration `json:"scheduler"`
	Networking        struct {
		PodSubnet string `json:"podSubnet"`
	} `json:"networking"`
	Etcd struct {
		Local *struct {
			ServerCertSANs []string `json:"serverCertSANs"`
			PeerCertSANs   []string `json:"peerCertSANs"`
		} `json:"local"`
		External *struct {
			Endpoints []string `json:"endpoints"`
			CAFile    string   `json:"caFile"`
			CertFile  string   `json:"certFile"`
			KeyFile   string   `json:"keyFile"`
		} `json:"external"`
	} `json:"etcd"`
}

// nodeConfiguration is what is read of an InitConfiguration or a
// JoinConfiguration.
type nodeConfiguration struct {
	APIVersion       string        `json:"apiVersion"`
	Kind             string        `json:"kind"`
	CertificateKey   string        `json:"certificateKey"`
	LocalAPIEndpoint localEndpoint `json:"localAPIEndpoint"`
	NodeRegistration struct {
		Name      string `json:"name"`
		CRISocket string `json:"criSocket"`
	} `json:"nodeRegistration"`
	Discovery struct {
		File struct {
			KubeConfigPath string `json:"kubeConfigPath"`
		} `json:"file"`
		TLSBootstrapToken string `json:"tlsBootstrapToken"`
	} `json:"discovery"`
	ControlPlane *struct {
		CertificateKey   string        `json:"certificateKey"`
		LocalAPIEndpoint localEndpoint `json:"localAPIEndpoint"`
	} `json:"controlPlane"`
	Patches struct {
		Directory string `json:"directory"`
	} `json:"patches"`
}

// configuration reads a file with the two documents.
func (p program) configuration(file string) (node nodeConfiguration, cluster clusterConfiguration, err error) {
	f := p.host.file(p.abs(file))
	if f.Mode != 0o600 {
		p.host.world.never("a configuration for kubeadm has mode %o", f.Mode)
	}
	for doc := range strings.SplitSeq(string(f.Data), "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			return node, cluster, err
		}
		switch kind.Kind {
		case "InitConfiguration", "JoinConfiguration":
			err = errors.Join(err, yaml.Unmarshal([]byte(doc), &node))
		case "ClusterConfiguration":
			err = errors.Join(err, yaml.Unmarshal([]byte(doc), &cluster))
		default:
			return node, cluster, fmt.Errorf("no kind and apiVersion in %s", file)
		}
		if !strings.HasPrefix(kind.APIVersion, "kubeadm.k8s.io/v1beta") {
			return node, cluster, fmt.Errorf("unknown version %q in %s", kind.APIVersion, file)
		}
	}
	return node, cluster, err
}

// transferred lists what the Secret kubeadm-certs holds (copycerts:
// certsToTransfer): without etcd.external there is no client certificate.
func (c clusterConfiguration) transferred() map[string]string {
	out := map[string]string{}
	for _, name := range []string{"ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.pub", "sa.key"} {
		out[name] = path.Join(c.CertificatesDir, name)
	}
	if ext := c.Etcd.External; ext != nil {
		out["external-etcd-ca.crt"], out["external-etcd.crt"], out["external-etcd.key"] = ext.CAFile, ext.CertFile, ext.KeyFile
	} else {
		out["etcd-ca.crt"], out["etcd-ca.key"] = path.Join(c.CertificatesDir, "etcd/ca.crt"), path.Join(c.CertificatesDir, "etcd/ca.key")
	}
	return out
}

// seal stands for encryption with the certificate key.
func seal(key string) string { return fmt.Sprintf("sealed %x\n", sha256.Sum256([]byte(key))) }

// signFile signs with a CA below dir into dir.
func (h *Host) signFile(dir, ca, name string, l leaf) error {
	crt, key := path.Join(dir, name+".crt"), path.Join(dir, name+".key")
	if h.has(crt) && h.has(key) {
		return nil
	}
	a, err := parseAuthority(h.read(path.Join(dir, ca+".crt")), h.read(path.Join(dir, ca+".key")))
	if err != nil {
		return fmt.Errorf("loading CA %s: %w", ca, err)
	}
	certPEM, keyPEM, err := a.sign(l)
	if err != nil {
		return err
	}
	h.put(crt, certPEM, 0o644, "root:root")
	h.put(key, keyPEM, 0o600, "root:root")
	return nil
}

// apiServerNames are the names kubeadm puts there (phases/certs: altnames).
func apiServerNames(cc clusterConfiguration, node, address string) []string {
	sans := []string{node, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "10.96.0.1", address}
	if host, _, ok := strings.Cut(cc.ControlPlaneEndpoint, ":"); ok {
		sans = append(sans, host)
	}
	return unique(append(sans, cc.APIServer.CertSANs...))
}

// serverOf returns the server of a kubeconfig, "" where there is none.
func serverOf(kubeconfig string) string {
	c, err := clientcmd.Load([]byte(kubeconfig))
	if err != nil || c.Contexts[c.CurrentContext] == nil {
		return ""
	}
	cluster := c.Clusters[c.Contexts[c.CurrentContext].Cluster]
	if cluster == nil {
		return ""
	}
	return cluster.Server
}
