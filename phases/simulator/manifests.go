package simulator

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

func fsMode(m int) fs.FileMode { return fs.FileMode(m) }

// The versions of the world.
const (
	kubernetesVersion = "v1.36.3"
	etcdVersionNumber = "3.6.8"
)

// controlPlaneManifests are the three that every control-plane node has, as
// kubeadm writes them.
func controlPlaneManifests(cc clusterConfiguration, address string) map[string]string {
	args := map[string]string{
		"advertise-address": address, "allow-privileged": "true", "authorization-mode": "Node,RBAC",
		"client-ca-file": pkiDir + "/ca.crt", "enable-bootstrap-token-auth": "true",
		"etcd-cafile": pkiDir + "/etcd/ca.crt", "etcd-certfile": pkiDir + "/apiserver-etcd-client.crt", "etcd-keyfile": pkiDir + "/apiserver-etcd-client.key",
		"etcd-servers": "https://127.0.0.1:2379", "secure-port": "6443",
		"service-account-issuer":   "https://kubernetes.default.svc.cluster.local",
		"service-account-key-file": pkiDir + "/sa.pub", "service-account-signing-key-file": pkiDir + "/sa.key",
		"service-cluster-ip-range": "10.96.0.0/12",
		"tls-cert-file":            pkiDir + "/apiserver.crt", "tls-private-key-file": pkiDir + "/apiserver.key",
	}
	if ext := cc.Etcd.External; ext != nil {
		args["etcd-servers"] = strings.Join(ext.Endpoints, ",")
		args["etcd-cafile"], args["etcd-certfile"], args["etcd-keyfile"] = ext.CAFile, ext.CertFile, ext.KeyFile
	}
	out := map[string]string{apiManifest: manifest(cc.APIServer.command("kube-apiserver", args), cc.APIServer.ExtraEnvs, cc.APIServer.volumes(
		extraVolume{Name: "ca-certs", HostPath: "/etc/ssl/certs", MountPath: "/etc/ssl/certs", ReadOnly: true, PathType: "DirectoryOrCreate"},
		extraVolume{Name: "k8s-certs", HostPath: pkiDir, MountPath: pkiDir, ReadOnly: true, PathType: "DirectoryOrCreate"}))}
	for name, c := range map[string]componentConfiguration{"controller-manager": cc.ControllerManager, "scheduler": cc.Scheduler} {
		conf := "/etc/kubernetes/" + name + ".conf"
		args := map[string]string{"bind-address": "127.0.0.1", "kubeconfig": conf, "leader-elect": "true"}
		if name == "controller-manager" && cc.Networking.PodSubnet != "" {
			args["allocate-node-cidrs"], args["cluster-cidr"] = "true", cc.Networking.PodSubnet
		}
		out["kube-"+name+".yaml"] = manifest(c.command("kube-"+name, args), c.ExtraEnvs, c.volumes(
			extraVolume{Name: "kubeconfig", HostPath: conf, MountPath: conf, ReadOnly: true, PathType: "FileOrCreate"}))
	}
	return out
}

// manifest writes a static pod.
func manifest(command []string, env []corev1.EnvVar, volumes []extraVolume) string {
	var b strings.Builder
	name := command[0]
	fmt.Fprintf(&b, `apiVersion: v1
kind: Pod
metadata:
  labels:
    component: %[1]s
    tier: control-plane
  name: %[1]s
  namespace: kube-system
spec:
  containers:
  - command:
    - %[1]s
`, name)
	for _, word := range command[1:] {
		fmt.Fprintf(&b, "    - %s\n", word)
	}
	if len(env) > 0 {
		b.WriteString("    env:\n")
	}
	for _, e := range env {
		fmt.Fprintf(&b, "    - name: %s\n      value: %q\n", e.Name, e.Value)
	}
	fmt.Fprintf(&b, "    image: registry.k8s.io/%[1]s:latest\n    imagePullPolicy: IfNotPresent\n    name: %[1]s\n    volumeMounts:\n", name)
	for _, v := range volumes {
		fmt.Fprintf(&b, "    - mountPath: %s\n      name: %s\n", v.MountPath, v.Name)
		if v.ReadOnly {
			b.WriteString("      readOnly: true\n")
		}
	}
	b.WriteString("  hostNetwork: true\n  priorityClassName: system-node-critical\n  volumes:\n")
	for _, v := range volumes {
		fmt.Fprintf(&b, "  - hostPath:\n      path: %s\n      type: %s\n    name: %s\n", v.HostPath, v.PathType, v.Name)
	}
	b.WriteString("status: {}\n")
	return b.String()
}

// etcdManifest is the old member's, listening on localhost or on its host's
// address too.
func etcdManifest(node, address string, localhost bool) string {
	args := map[string]string{
		"name": node, "data-dir": "/var/lib/etcd", "initial-cluster": node + "=https://" + address + ":2380",
		"initial-advertise-peer-urls": "https://" + address + ":2380", "listen-peer-urls": "https://" + address + ":2380",
		"advertise-client-urls": "https://" + address + ":2379", "listen-client-urls": "https://127.0.0.1:2379,https://" + address + ":2379",
		"cert-file": pkiDir + "/etcd/server.crt", "key-file": pkiDir + "/etcd/server.key", "trusted-ca-file": pkiDir + "/etcd/ca.crt", "client-cert-auth": "true",
		"peer-cert-file": pkiDir + "/etcd/peer.crt", "peer-key-file": pkiDir + "/etcd/peer.key", "peer-trusted-ca-file": pkiDir + "/etcd/ca.crt", "peer-client-cert-auth": "true",
		"feature-gates": "InitialCorruptCheck=true", "snapshot-count": "10000", "quota-backend-bytes": "8589934592", "listen-metrics-urls": "http://127.0.0.1:2381",
	}
	if localhost {
		for name, value := range args {
			if strings.HasSuffix(name, "-urls") && name != "listen-metrics-urls" || name == "initial-cluster" {
				args[name] = strings.ReplaceAll(value, address, "127.0.0.1")
			}
		}
		args["listen-client-urls"] = "https://127.0.0.1:2379"
	}
	return manifest(componentConfiguration{}.command("etcd", args), nil, []extraVolume{
		{Name: "etcd-data", HostPath: "/var/lib/etcd", MountPath: "/var/lib/etcd", PathType: "DirectoryOrCreate"},
		{Name: "etcd-certs", HostPath: pkiDir + "/etcd", MountPath: pkiDir + "/etcd", PathType: "DirectoryOrCreate"},
	})
}

// kubeconfig writes one with one user; credentials are the lines below it.
func kubeconfig(name, server, ca, user, credentials string) string {
	return fmt.Sprintf(`apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: %[2]s
    server: %[3]s
  name: %[1]s
contexts:
- context:
    cluster: %[1]s
    user: %[4]s
  name: %[4]s@%[1]s
current-context: %[4]s@%[1]s
kind: Config
users:
- name: %[4]s
  user:
%[5]s`, name, base64.StdEncoding.EncodeToString([]byte(ca)), server, user, credentials)
}

func kubeletKubeconfig(node, server, ca string) string {
	const pem = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	return kubeconfig("kubernetes", server, ca, "system:node:"+node, "    client-certificate: "+pem+"\n    client-key: "+pem+"\n")
}

// writeKubeconfig signs and writes one of kubeadm's on a host with the CA's
// key; one that is there is kept.
func (h *Host) writeKubeconfig(name, server string) error {
	file := "/etc/kubernetes/" + name + ".conf"
	if h.has(file) {
		return nil
	}
	ca := h.read(pkiDir + "/ca.crt")
	a, err := parseAuthority(ca, h.read(pkiDir+"/ca.key"))
	if err != nil {
		return err
	}
	user := map[string]leaf{
		"admin":              {name: "kubernetes-admin", organization: "kubeadm:cluster-admins"},
		"super-admin":        {name: "kubernetes-super-admin", organization: "system:masters"},
		"controller-manager": {name: "system:kube-controller-manager"},
		"scheduler":          {name: "system:kube-scheduler"},
	}[name]
	user.usages = client()
	cert, key, err := a.sign(user)
	if err != nil {
		return err
	}
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	h.put(file, kubeconfig("kubernetes", server, ca, user.name, "    client-certificate-data: "+encode(cert)+"\n    client-key-data: "+encode(key)+"\n"), 0o600, "root:root")
	return nil
}
