package simulator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote/remotetest"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

const pkiDir = "/etc/kubernetes/pki"

// joining is one run of kubeadm join.
type joining struct {
	program
	node nodeConfiguration
	cc   clusterConfiguration
	ca   string
}

// join goes through kubeadm's phases in their order (cmd/join.go). Each is an
// operation of its own: the operator's program, or the host, may die at any of
// them.
func (p program) join(file string) error {
	node, _, err := p.configuration(file)
	if err != nil {
		return err
	}
	if node.ControlPlane == nil {
		return errors.New("only control-plane nodes are played")
	}
	j := &joining{program: p, node: node}
	for _, phase := range []struct {
		name string
		run  func() error
	}{
		{"preflight", j.preflight},
		{"download-certs", j.downloadCerts},
		{"certs", j.certs},
		{"kubeconfig", j.kubeconfigs},
		{"control-plane", j.manifests},
		{"kubelet-start", j.kubeletStart},
		{"kubelet-wait-bootstrap", j.waitBootstrap},
		{"mark-control-plane", j.mark},
		{"wait-control-plane", j.wait},
	} {
		if err := p.part("kubeadm join, phase "+phase.name, phase.run); err != nil {
			return fmt.Errorf("error execution phase %s: %w", phase.name, err)
		}
	}
	return nil
}

// part is an operation within a command that runs detached: the operator's
// program may die at it, but a connection that is cut is none of its business.
func (p program) part(name string, effect func() error) error {
	begun, result := false, error(nil)
	err := p.host.world.do(p.host.Name()+": "+name, func() error {
		begun, result = true, effect()
		return result
	})
	switch {
	case !errors.Is(err, remotetest.ErrCut):
		return err
	case begun:
		return result
	}
	return effect()
}

func (j *joining) preflight() error {
	h := j.host
	j.sleep(time.Second)
	var problems []string
	if names, err := h.Fake.List(j.ctx, kube.ManifestsDir); err == nil && len(names) > 0 {
		problems = append(problems, "[ERROR DirAvailable--etc-kubernetes-manifests]: /etc/kubernetes/manifests is not empty")
	}
	for _, f := range []string{"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/bootstrap-kubelet.conf"} {
		if h.has(f) {
			problems = append(problems, "[ERROR FileAvailable]: "+f+" already exists")
		}
	}
	if h.active("kubelet.service") {
		problems = append(problems, "[ERROR Port-10250]: Port 10250 is in use")
	}
	if dir := j.node.Patches.Directory; dir != "" && !h.has(dir) {
		problems = append(problems, "patches: "+dir+" is not there")
	}
	problems = append(problems, j.runtime()...)
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "\n"))
	}
	return j.discover()
}

// runtime is the one that was named; where none was, there may be one alone
// (kubeadm: util/runtime.DetectCRISocket).
func (j *joining) runtime() []string {
	var found []string
	for _, socket := range []string{"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/cri-dockerd.sock"} {
		if j.host.has(socket) {
			found = append(found, "unix://"+socket)
		}
	}
	socket := j.node.NodeRegistration.CRISocket
	switch {
	case socket == "" && len(found) > 1:
		return []string{"found multiple CRI endpoints on the host: " + strings.Join(found, ", ")}
	case socket != "" && !slices.Contains(found, socket):
		return []string{"[ERROR CRI]: could not connect to the container runtime: " + socket}
	}
	return nil
}

// discover trusts a file (kubeadm: discovery/file). The API server refuses
// nobody's requests, and answers 403 to a bootstrap token that asks for
// cluster-info: that proves the connection.
func (j *joining) discover() error {
	w, d := j.host.world, j.node.Discovery
	if d.File.KubeConfigPath == "" || d.TLSBootstrapToken == "" {
		return errors.New("discovery: only a file with a tlsBootstrapToken is played")
	}
	file := j.host.file(d.File.KubeConfigPath)
	if file.Mode != 0o600 {
		w.never("a file with a token has mode %o", file.Mode)
	}
	found, err := clientcmd.Load(file.Data)
	if err != nil {
		return err
	}
	if err := clientcmd.Validate(*found); err != nil {
		return err
	}
	current := found.Contexts[found.CurrentContext]
	cluster, user := found.Clusters[current.Cluster], found.AuthInfos[current.AuthInfo]
	if user == nil || user.Token != d.TLSBootstrapToken {
		return errors.New("couldn't validate the identity of the API Server: Abort reading the cluster-info ConfigMap after timeout of 5m0s: Unauthorized")
	}
	id, secret, _ := strings.Cut(d.TLSBootstrapToken, ".")
	token := lookup[*corev1.Secret](w.objects, "secrets", "kube-system", "bootstrap-token-"+id)
	if token == nil || string(token.Data["usage-bootstrap-authentication"]) != "true" || string(token.Data["token-secret"]) != secret {
		return errors.New("unauthorized: the token is unknown")
	}
	j.ca = string(cluster.CertificateAuthorityData)
	if _, err := parseCert(j.ca); err != nil {
		return err
	}
	if err := w.reach(j.host, cluster.Server); err != nil {
		return fmt.Errorf("couldn't validate the identity of the API Server: %s: %w", cluster.Server, err)
	}
	cm := lookup[*corev1.ConfigMap](w.objects, "configmaps", "kube-system", "kubeadm-config")
	if err := yaml.Unmarshal([]byte(cm.Data["ClusterConfiguration"]), &j.cc); err != nil {
		return err
	}
	if j.cc.ControlPlaneEndpoint == "" {
		return errors.New("unable to add a new control plane instance to a cluster that doesn't have a stable controlPlaneEndpoint address")
	}
	if j.cc.Etcd.External == nil {
		w.never("%s joined with etcd.local", j.host.Name())
	}
	return nil
}

func (j *joining) downloadCerts() error {
	secret := lookup[*corev1.Secret](j.host.world.objects, "secrets", "kube-system", "kubeadm-certs")
	if secret == nil {
		return errors.New(`Secret "kubeadm-certs" was not found in the "kube-system" Namespace. This Secret might have expired`) //nolint:staticcheck // kubeadm's words
	}
	for name, to := range j.cc.transferred() {
		sealed, ok := secret.Data[name]
		if !ok {
			return fmt.Errorf("the Secret does not include the required certificate or key - name: %s", name)
		}
		text, ok := strings.CutPrefix(string(sealed), seal(j.node.ControlPlane.CertificateKey))
		if !ok {
			return errors.New("error decoding secret data with provided key")
		}
		mode := 0o644
		if strings.HasSuffix(name, ".key") {
			mode = 0o600
		}
		j.host.put(to, text, fsMode(mode), "root:root")
	}
	return nil
}

func (j *joining) address() string { return j.node.ControlPlane.LocalAPIEndpoint.AdvertiseAddress }
func (j *joining) local() string   { return "https://" + j.address() + ":6443" }

func (j *joining) certs() error {
	return signNode(j.host, j.cc, j.node.NodeRegistration.Name, j.address())
}

// signNode signs what every control-plane node has of its own.
func signNode(h *Host, cc clusterConfiguration, node, address string) error {
	return errors.Join(
		h.signFile(pkiDir, "ca", "apiserver", leaf{name: "kube-apiserver", sans: apiServerNames(cc, node, address), usages: serving()}),
		h.signFile(pkiDir, "ca", "apiserver-kubelet-client", leaf{name: "kube-apiserver-kubelet-client", organization: "kubeadm:cluster-admins", usages: client()}),
		h.signFile(pkiDir, "front-proxy-ca", "front-proxy-client", leaf{name: "front-proxy-client", usages: client()}),
	)
}

func (j *joining) kubeconfigs() error {
	for name, server := range map[string]string{
		"admin": "https://" + j.cc.ControlPlaneEndpoint, "controller-manager": j.local(), "scheduler": j.local(),
	} {
		if err := j.host.writeKubeconfig(name, server); err != nil {
			return err
		}
	}
	return nil
}

func (j *joining) manifests() error {
	for name, text := range controlPlaneManifests(j.cc, j.address()) {
		text, err := j.host.patched(j.ctx, j.node.Patches.Directory, name, text)
		if err != nil {
			return err
		}
		j.host.put(kube.ManifestsDir+"/"+name, text, 0o600, "root:root")
	}
	return nil
}

func (j *joining) kubeletStart() error {
	h := j.host
	h.put("/etc/kubernetes/bootstrap-kubelet.conf", kubeconfig("kubernetes", j.local(), j.ca, "tls-bootstrap-token-user", "    token: "+j.node.Discovery.TLSBootstrapToken+"\n"), 0o600, "root:root")
	if node := h.world.node(h.Name()); node != nil && node.Status.Conditions[0].Status == corev1.ConditionTrue {
		return fmt.Errorf(`a Node with name %q and status "Ready" already exists in the cluster. You must delete the existing Node or change the name of this new joining Node`, h.Name())
	}
	h.put("/var/lib/kubelet/config.yaml", "kind: KubeletConfiguration\n", 0o644, "root:root")
	u, err := h.unit("kubelet")
	if err != nil {
		return err
	}
	return h.startUnit("kubelet.service", u)
}

// waitBootstrap: the kubelet talks to the local API server, which must come
// up first.
func (j *joining) waitBootstrap() error {
	h, w := j.host, j.host.world
	for range 60 {
		if w.reach(h, j.local()) == nil {
			break
		}
		j.sleep(2 * time.Second)
	}
	if err := w.reach(h, j.local()); err != nil {
		return fmt.Errorf("failed while waiting for TLS bootstrap: %w", err)
	}
	h.put("/etc/kubernetes/kubelet.conf", kubeletKubeconfig(h.Name(), j.local(), j.ca), 0o600, "root:root")
	h.remove("/etc/kubernetes/bootstrap-kubelet.conf")
	h.kubelet.server = j.local()
	if w.node(h.Name()) == nil {
		return w.register(h.Name(), h.address, false)
	}
	return nil
}

// register makes a Node and its lease.
func (w *World) register(name, address string, controlPlane bool) error {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/hostname": name}},
		Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}},
	}
	if controlPlane {
		markControlPlane(node)
	}
	setReady(node, false)
	if err := w.create("nodes", node); err != nil {
		return err
	}
	if w.lease(name) != nil {
		return nil
	}
	return w.create("leases", &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: name}})
}

func markControlPlane(n *corev1.Node) {
	n.Labels["node-role.kubernetes.io/control-plane"] = ""
	n.Labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
	n.Spec.Taints = []corev1.Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}}
}

func (j *joining) mark() error {
	markControlPlane(j.host.world.node(j.host.Name()))
	j.host.world.store().wrote(true)
	return nil
}

func (j *joining) wait() error {
	for range 60 {
		if j.host.world.notReady(j.host, j.host.apiServer(apiPort)) == nil {
			return nil
		}
		j.sleep(2 * time.Second)
	}
	return errors.New("the control plane did not come up")
}
