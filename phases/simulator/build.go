package simulator

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote/remotetest"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sigs.k8s.io/yaml"
)

// SpecFile is the spec of the world: two load balancers (the first one is the
// endpoint), and everything else as in the example.
const SpecFile = `apiVersion: migrate/v1alpha1
kind: Migration
metadata: {name: memory}
spec:
  endpoint: 10.88.0.5:6443
  loadBalancer:
    kind: nginx
    hosts: [{name: lb1, address: 10.88.0.5}, {name: lb2, address: 10.88.0.6}]
  etcd:
    topology: external
    hosts: [{name: e1, address: 10.88.0.21}, {name: e2, address: 10.88.0.22}, {name: e3, address: 10.88.0.23}]
    binary: from-control-plane
  controlPlane:
    first: {name: cp1, address: 10.88.0.11}
    joining: [{name: cp2, address: 10.88.0.12}, {name: cp3, address: 10.88.0.13}]
    join:
      patches: /etc/kubernetes/patches
      ignorePreflightErrors: [SystemVerification]
`

// kubeadmConfig is kubeadm-config as kubeadm 1.36 stores it, with the files
// of an operator who audits and encrypts.
const kubeadmConfig = `apiServer:
  extraArgs:
  - name: audit-policy-file
    value: /etc/kubernetes/audit/policy.yaml
  - name: audit-log-path
    value: /var/log/kubernetes/audit/audit.log
  - name: encryption-provider-config
    value: /etc/kubernetes/enc/enc.yaml
  extraVolumes:
  - hostPath: /etc/kubernetes/audit/policy.yaml
    mountPath: /etc/kubernetes/audit/policy.yaml
    name: audit-policy
    pathType: File
    readOnly: true
  - hostPath: /var/log/kubernetes/audit
    mountPath: /var/log/kubernetes/audit
    name: audit-log
    pathType: DirectoryOrCreate
  - hostPath: /etc/kubernetes/enc
    mountPath: /etc/kubernetes/enc
    name: enc
    pathType: Directory
    readOnly: true
apiVersion: kubeadm.k8s.io/v1beta4
caCertificateValidityPeriod: 87600h0m0s
certificateValidityPeriod: 8760h0m0s
certificatesDir: /etc/kubernetes/pki
clusterName: kubernetes
controllerManager:
  extraArgs:
  - name: allocate-node-cidrs
    value: "false"
dns: {}
encryptionAlgorithm: RSA-2048
etcd:
  local:
    dataDir: /var/lib/etcd
imageRepository: registry.k8s.io
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
networking:
  dnsDomain: cluster.local
  podSubnet: 10.244.0.0/16
  serviceSubnet: 10.96.0.0/12
proxy: {}
scheduler: {}
`

// Option is a difference to the usual world.
type Option func(*config)

type config struct {
	etcdOnHost bool
	kubeadm    func(string) string
	external   bool
	haproxy    bool
	arrange    func(*World)
	meaning    string
}

// ExternalBalancer is a world whose endpoint is a load balancer of somebody
// else: a machine on which nobody logs in. It leads to the first API server,
// until SetBackends says where else.
func ExternalBalancer(o *config) { o.external = true }

// SetBackends is what the load balancer's owner does: the API servers, as
// host:port, that it leads to in turn. Those that do not answer are left out,
// as its health check has it.
func (w *World) SetBackends(backends ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.backends = backends
}

// EtcdOnHostAddress is an old member that listens on its host's address too,
// as kubeadm makes them.
func EtcdOnHostAddress(o *config) { o.etcdOnHost = true }

// KubeadmConfig changes the text of kubeadm-config, and with it all that
// kubeadm makes from it.
func KubeadmConfig(change func(string) string) Option { return func(o *config) { o.kubeadm = change } }

// Arranged changes the bare machines before anything runs on them: what a
// control plane needs of its host is there when it is started.
func Arranged(do func(*World)) Option { return func(o *config) { o.arrange = do } }

// MadeFor is a cluster that was made with an endpoint, whose name means the first
// control-plane node until there is a load balancer: kubeadm writes it into all
// files and ConfigMaps but those that stay with the local API server.
func MadeFor(endpoint string) Option {
	return KubeadmConfig(func(text string) string {
		return strings.Replace(text, "controllerManager:\n", "controlPlaneEndpoint: "+endpoint+"\ncontrollerManager:\n", 1)
	})
}

// NameMeans is what the name of MadeFor means on every node, another address that
// leads to the first one.
func NameMeans(address string) Option { return func(o *config) { o.meaning = address } }

// givenServer is what clients are given as the API server by this kubeadm-config.
func (w *World) givenServer(kubeadmConfig string) string {
	var cc clusterConfiguration
	w.must(yaml.Unmarshal([]byte(kubeadmConfig), &cc))
	if cc.ControlPlaneEndpoint != "" {
		return "https://" + cc.ControlPlaneEndpoint
	}
	return "https://" + w.hosts["cp1"].address + ":6443"
}

// authorities are the CAs of all worlds: name to certificate and key.
var authorities = sync.OnceValue(func() map[string][2]string {
	out := map[string][2]string{}
	for file, name := range map[string]string{"ca": "kubernetes", "etcd/ca": "etcd-ca", "front-proxy-ca": "front-proxy-ca"} {
		cert, key, err := newAuthority(name)
		if err != nil {
			panic(err)
		}
		out[file] = [2]string{cert, key}
	}
	return out
})

// New makes a cluster as `kubeadm init` and two joins left it a day ago: etcd
// listens on localhost only, lb1 is bare, lb2 serves a website with an nginx
// that has no stream module, e3 has a distribution's etcd.service, cp2 and cp3
// have audit policies of their own.
func New(t testing.TB, options ...Option) *World {
	var o config
	for _, set := range options {
		set(&o)
	}
	spec, err := cluster.ParseBytes("migrate.yaml", []byte(o.specFile()))
	if err != nil {
		t.Fatal(err)
	}
	w := &World{
		Spec: spec, Faults: remotetest.NewFaults(), hosts: map[string]*Host{}, ctx: t.Context(), memo: &memo{},
		objects: &objects{items: map[objectKey]object{}}, shared: map[string]string{},
		listeners: map[end]*listener{}, outages: map[string]time.Duration{}, pids: 40,
		clusters: []*etcdCluster{{id: 0xc1, nextID: 0xa0, index: 1000, revision: 800, keys: map[string]key{}, leases: map[int64]time.Duration{}}},
	}
	w.assemble()
	for _, h := range append(append(spec.LoadBalancer.Hosts, spec.Etcd.Hosts...), append(spec.ControlPlane.Joining, spec.ControlPlane.First)...) {
		w.newHost(h.Name, h.Address)
	}
	if o.external {
		w.backends, w.balancer = []string{"10.88.0.11:6443"}, spec.Endpoint.Host
		w.newHost("lb2", "10.88.0.6") // of no part in this
	}
	w.newHost("w1", "10.88.0.31")
	w.newHost("w2", "10.88.0.32")
	text := kubeadmConfig
	if o.kubeadm != nil {
		text = o.kubeadm(text)
	}
	w.buildHosts()
	if o.haproxy {
		installHAProxy(w.hosts["lb2"])
	}
	if o.arrange != nil {
		o.arrange(w)
	}
	if name, _, err := net.SplitHostPort(strings.TrimPrefix(w.givenServer(text), "https://")); err == nil && net.ParseIP(name) == nil {
		w.Spec.Endpoint.Host = name
		for _, node := range []string{"cp1", "cp2", "cp3", "w1", "w2"} {
			w.hosts[node].put("/etc/hosts", cmp.Or(o.meaning, "10.88.0.11")+" "+name+"\n", 0o644, "root:root")
		}
	}
	w.buildFirst(text, !o.etcdOnHost)
	w.buildObjects(text)
	for _, name := range []string{"w1", "w2"} {
		w.buildWorker(w.hosts[name], w.givenServer(text))
	}
	for range 30 {
		time.Sleep(5 * time.Second)
		w.settle()
	}
	clear(w.outages)
	if err := w.ready(); err != nil {
		t.Fatalf("the world did not come up: %v", err)
	}
	return w
}

// ready says what is missing in a new world.
func (w *World) ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range []string{"cp1", "w1", "w2"} {
		if node := w.node(name); node == nil || node.Status.Conditions[0].Status != corev1.ConditionTrue {
			return fmt.Errorf("node %s is not Ready; %q; %w", name, w.hosts["cp1"].journal, w.notReady(w.hosts["cp1"], w.hosts["cp1"].apiServer(apiPort)))
		}
	}
	if len(w.broken) > 0 {
		return fmt.Errorf("%q", w.broken)
	}
	return nil
}

// buildHosts gives the bare machines their programs.
func (w *World) buildHosts() {
	for _, h := range w.all() {
		h.furnish()
		h.put("/usr/bin/apt-get", "\x7fELF", 0o755, "root:root")
		for _, program := range []string{"/usr/lib/systemd/systemd-socket-proxyd", "/usr/sbin/nft", "/usr/sbin/conntrack", "/usr/bin/curl"} {
			h.put(program, "\x7fELF", 0o755, "root:root")
		}
	}

	w.must(installNginx(w.hosts["lb2"]))
	w.hosts["cp2"].put(auditFile, "kind: Policy\n", 0o640, "root:root")
	w.hosts["cp3"].put(auditFile, auditPolicy, 0o644, "root:root")
	// A distribution's etcd, not started, that systemd has in memory.
	e3 := w.hosts["e3"]
	e3.put(packageUnits+"/etcd.service", "[Service]\nExecStart=/usr/bin/etcd\n", 0o644, "root:root")
	if _, err := e3.unit("etcd"); err != nil {
		panic(err) // its file was written above
	}
	for _, name := range []string{"cp1", "cp2", "cp3", "w1", "w2"} {
		h := w.hosts[name]
		h.furnishNode()
		h.put("/usr/bin/kubeadm", "\x7fELF", 0o755, "root:root")
		h.put("/usr/bin/kubelet", "\x7fELF", 0o755, "root:root")
		h.put(packageUnits+"/kubelet.service", "[Service]\nExecStart=/usr/bin/kubelet\n\n[Install]\nWantedBy=multi-user.target\n", 0o644, "root:root")
		h.put("/etc/kubernetes/patches/kubeletconfiguration+merge.yaml", "failSwapOn: false\n", 0o644, "root:root")
	}
}

// auditPolicy is a file of the operator's that the API server mounts. cp2 has
// an old version of it, and cp3 has it with another mode.
const (
	auditFile   = "/etc/kubernetes/audit/policy.yaml"
	auditPolicy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"
)

// buildFirst is the first control-plane node.
func (w *World) buildFirst(kubeadmConfig string, localhost bool) {
	h := w.hosts["cp1"]
	h.clients = 150
	for name, pair := range authorities() {
		h.put(pkiDir+"/"+name+".crt", pair[0], 0o644, "root:root")
		h.put(pkiDir+"/"+name+".key", pair[1], 0o600, "root:root")
	}
	h.put(pkiDir+"/sa.pub", "public\n", 0o600, "root:root")
	h.put(pkiDir+"/sa.key", "private\n", 0o600, "root:root")
	var cc clusterConfiguration
	w.must(yaml.Unmarshal([]byte(kubeadmConfig), &cc))
	names := []string{"cp1", "localhost", h.address, "127.0.0.1", "::1"}
	w.must(signNode(h, cc, "cp1", h.address))
	w.must(h.signFile(pkiDir, "etcd/ca", "etcd/server", leaf{name: "cp1", sans: names, usages: both()}))
	w.must(h.signFile(pkiDir, "etcd/ca", "etcd/peer", leaf{name: "cp1", sans: names, usages: both()}))
	w.must(h.signFile(pkiDir, "etcd/ca", "etcd/healthcheck-client", leaf{name: "kube-etcd-healthcheck-client", usages: client()}))
	// kubeadm signs this one with etcd's CA too, but puts it a folder up.
	etcdCA, err := parseAuthority(h.read(pkiDir+"/etcd/ca.crt"), h.read(pkiDir+"/etcd/ca.key"))
	w.must(err)
	cert, key, err := etcdCA.sign(leaf{name: "kube-apiserver-etcd-client", usages: client()})
	w.must(err)
	h.put(pkiDir+"/apiserver-etcd-client.crt", cert, 0o644, "root:root")
	h.put(pkiDir+"/apiserver-etcd-client.key", key, 0o600, "root:root")
	local := "https://" + h.address + ":6443"
	for name, server := range map[string]string{"admin": w.givenServer(kubeadmConfig), "super-admin": w.givenServer(kubeadmConfig), "controller-manager": local, "scheduler": local} {
		w.must(h.writeKubeconfig(name, server))
	}
	h.put("/etc/kubernetes/kubelet.conf", kubeletKubeconfig("cp1", local, h.read(pkiDir+"/ca.crt")), 0o600, "root:root")
	h.put(auditFile, auditPolicy, 0o640, "root:root")
	h.put("/etc/kubernetes/enc/enc.yaml", "kind: EncryptionConfiguration\nresources: [] # a key\n", 0o600, "root:root")
	h.mkdir("/var/log/kubernetes/audit", 0o700, "root:root")
	h.put("/var/log/kubernetes/audit/audit.log", "{}\n", 0o600, "root:root")
	manifests := controlPlaneManifests(cc, h.address)
	maps.Copy(manifests, map[string]string{"etcd.yaml": etcdManifest("cp1", h.address, localhost)})
	for name, text := range manifests {
		h.put(kube.ManifestsDir+"/"+name, text, 0o600, "root:root")
	}
	h.mkdir("/var/lib/etcd", 0o700, "root:root")
	address := h.address
	if localhost {
		address = "127.0.0.1"
	}
	first := &member{id: w.store().nextID, name: "cp1", peerURLs: []string{"https://" + address + ":2380"}, clientURLs: []string{"https://" + address + ":2379"}}
	w.store().members, w.store().leader = []*member{first}, first.id
	h.put("/var/lib/etcd/member/snap/db", fmt.Sprintf(identity, w.store().id, first.id), 0o600, "root:root")
	h.startKubelet()
}

func (h *Host) startKubelet() {
	u, err := h.unit("kubelet")
	h.world.must(err)
	h.world.must(h.startUnit("kubelet.service", u))
}

// buildWorker is a joined worker; w2 still has its bootstrap kubeconfig.
func (w *World) buildWorker(h *Host, server string) {
	ca := w.hosts["cp1"].read(pkiDir + "/ca.crt")
	h.put("/etc/kubernetes/kubelet.conf", kubeletKubeconfig(h.Name(), server, ca), 0o600, "root:root")
	h.put(pkiDir+"/ca.crt", ca, 0o644, "root:root")
	h.Link("/var/lib/kubelet/pki/kubelet-client-current.pem", "/var/lib/kubelet/pki/kubelet-client-2000-01-01.pem")
	authority, err := parseAuthority(ca, w.hosts["cp1"].read(pkiDir+"/ca.key"))
	w.must(err)
	crt, key, err := authority.sign(leaf{name: "system:node:" + h.Name(), organization: "system:nodes", usages: client()})
	w.must(err)
	h.put("/var/lib/kubelet/pki/kubelet-client-2000-01-01.pem", crt+key, 0o600, "root:root")
	if h.Name() == "w2" {
		h.put("/etc/kubernetes/bootstrap-kubelet.conf", kubeconfig("kubernetes", server, ca, "tls-bootstrap-token-user", "    token: expired.0123456789abcdef\n"), 0o600, "root:root")
	}
	h.startKubelet()
	w.must(w.register(h.Name(), h.address, false))
}

// buildObjects fills the API.
func (w *World) buildObjects(kubeadmConfig string) {
	h := w.hosts["cp1"]
	server := w.givenServer(kubeadmConfig)
	ca := h.read(pkiDir + "/ca.crt")
	meta := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	clusterInfo := "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: " + encoded(ca) +
		"\n    server: " + server + "\n  name: \"\"\ncontexts: null\ncurrent-context: \"\"\nkind: Config\nusers: null\n"
	proxy := "apiVersion: v1\nkind: Config\nclusters:\n- cluster:\n    certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt\n    server: " + server +
		"\n  name: default\ncontexts:\n- context:\n    cluster: default\n    namespace: default\n    user: default\n  name: default\ncurrent-context: default\n" +
		"users:\n- name: default\n  user:\n    tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token"
	replicas := int32(2)
	w.must(w.create("namespaces", &corev1.Namespace{ObjectMeta: meta("", "kube-system")}))
	w.must(w.create("services", &corev1.Service{ObjectMeta: meta("default", "kubernetes"), Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1"}}))
	slice := &discoveryv1.EndpointSlice{ObjectMeta: meta("default", "kubernetes"), AddressType: discoveryv1.AddressTypeIPv4}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: "kubernetes"}
	w.must(w.create("endpointslices", slice))
	w.must(w.create("configmaps", &corev1.ConfigMap{ObjectMeta: meta("kube-system", "kubeadm-config"), Data: map[string]string{"ClusterConfiguration": kubeadmConfig}}))
	w.must(w.create("configmaps", &corev1.ConfigMap{ObjectMeta: meta("kube-public", "cluster-info"), Data: map[string]string{"kubeconfig": clusterInfo}}))
	w.must(w.create("configmaps", &corev1.ConfigMap{ObjectMeta: meta("kube-system", "kube-proxy"), Data: map[string]string{"config.conf": "kind: KubeProxyConfiguration\n", "kubeconfig.conf": proxy}}))
	// A token that signs, of somebody who is about to join a node.
	w.must(w.create("secrets", &corev1.Secret{ObjectMeta: meta("kube-system", "bootstrap-token-abcdef"), Type: corev1.SecretTypeBootstrapToken, Data: map[string][]byte{
		"token-id": []byte("abcdef"), "token-secret": []byte("0123456789abcdef"), "usage-bootstrap-signing": []byte("true"), "usage-bootstrap-authentication": []byte("true"),
		"expiration": []byte(time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)),
	}}))
	proxies := &appsv1.DaemonSet{ObjectMeta: meta("kube-system", "kube-proxy")}
	proxies.Spec.Template.Labels = map[string]string{"k8s-app": "kube-proxy"}
	proxies.Spec.Selector = &metav1.LabelSelector{MatchLabels: proxies.Spec.Template.Labels}
	w.must(w.create("daemonsets", proxies))
	w.must(w.create("deployments", &appsv1.Deployment{ObjectMeta: meta("kube-system", "coredns"), Spec: appsv1.DeploymentSpec{Replicas: &replicas}, Status: appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}}))
	w.proxyServer = server
	w.placeCoreDNS("cp1")
	w.must(w.register("cp1", h.address, true))
}
