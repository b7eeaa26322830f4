package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// certificatesOnTheWire: whatever address a client calls, the certificate is
// of the cluster's CA and holds the address, the endpoint and the Service's
// address.
func certificatesOnTheWire(t *testing.T, s *scenario) {
	endpoint := hostOf(t, s.pg.endpoint())
	addresses := []string{s.pg.endpoint()}
	for _, name := range controlPlanes() {
		addresses = append(addresses, s.pg.api(name))
	}
	for _, address := range addresses {
		for _, name := range []string{endpoint, hostOf(t, address), serviceAddress, "kubernetes.default.svc.cluster.local"} {
			conn, _, err := s.pg.served(soon(t), s.before.roots, address, name)
			if err != nil {
				t.Errorf("certificate: %v", err)
				continue
			}
			conn.Close()
		}
	}
}

// loadBalancerSpreads holds connections to the endpoint until all three API
// servers have shown their certificate.
func loadBalancerSpreads(t *testing.T, s *scenario) {
	const connections = 60
	seen := map[string]int{}
	for range connections {
		conn, cert, err := s.pg.served(soon(t), s.before.roots, s.pg.endpoint(), hostOf(t, s.pg.endpoint()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		seen[cert.SerialNumber.String()]++
	}
	if len(seen) != len(controlPlanes()) {
		t.Errorf("%d connections through the endpoint met %d API servers, not %d", connections, len(seen), len(controlPlanes()))
	}
}

// configurationNamesEndpoint looks at everything that tells a client where
// the API is.
func configurationNamesEndpoint(t *testing.T, s *scenario) {
	url := "https://" + s.pg.endpoint()
	if got := serverOf(t, clusterInfo(t, s)); got != url {
		t.Errorf("cluster-info names %s, not %s", got, url)
	}
	c := s.pg.kube(t, s.pg.endpoint())
	maps := c.CoreV1().ConfigMaps("kube-system")
	proxy, err := maps.Get(soon(t), "kube-proxy", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := serverOf(t, proxy.Data["kubeconfig.conf"]); got != url {
		t.Errorf("ConfigMap kube-proxy names %s, not %s", got, url)
	}
	pods, err := podsOf(soon(t), c, "kube-system", "k8s-app=kube-proxy")
	if err != nil {
		t.Fatal(err)
	}
	if want := len(controlPlanes()) + len(workers()); len(pods) != want {
		t.Errorf("there are %d pods of kube-proxy, not %d", len(pods), want)
	}
	for _, p := range pods {
		if p.Status.StartTime == nil || p.Status.StartTime.Time.Before(since(s.before.at)) {
			t.Errorf("kube-proxy on %s runs since %s, and so with the configuration of before", p.Spec.NodeName, p.Status.StartTime)
		}
	}
	kubeadm, err := maps.Get(soon(t), "kubeadm-config", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	checkKubeadmConfig(t, s, kubeadm.Data["ClusterConfiguration"])
	files := map[string][]string{"cp1": {"admin.conf", "super-admin.conf"}, "cp2": {"admin.conf"}, "cp3": {"admin.conf"}}
	for host, names := range files {
		for _, name := range names {
			if got := serverOf(t, s.pg.hosts[host].must(t, "cat /etc/kubernetes/"+name)); got != url {
				t.Errorf("%s on %s names %s, not %s", name, host, got, url)
			}
		}
	}
	for _, w := range workers() {
		if got := serverOf(t, s.pg.hosts[w].must(t, "cat /etc/kubernetes/kubelet.conf")); got != url {
			t.Errorf("kubelet.conf on %s names %s, not %s", w, got, url)
		}
	}
}

// clusterInfo reads it as an administrator: it was closed to everybody else
// before, and is to stay so.
func clusterInfo(t *testing.T, s *scenario) string {
	t.Helper()
	cm, err := s.pg.kube(t, s.pg.endpoint()).CoreV1().ConfigMaps("kube-public").Get(soon(t), "cluster-info", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return cm.Data["kubeconfig"]
}

// closedToStrangers: nobody without a name reads anything, as before, and
// anybody may ask whether a server is well, as before.
func closedToStrangers(t *testing.T, s *scenario) {
	for _, address := range append([]string{s.pg.endpoint()}, apisOf(s)...) {
		config := rest.AnonymousClientConfig(s.pg.restConfig(t, address))
		client, err := rest.HTTPClientFor(config)
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]int{"/api/v1/namespaces/kube-public/configmaps/cluster-info": http.StatusUnauthorized, "/livez": http.StatusOK} {
			request, err := http.NewRequestWithContext(soon(t), http.MethodGet, config.Host+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := client.Do(request)
			if err != nil {
				t.Errorf("asking %s for %s without credentials: %v", address, path, err)
				continue
			}
			answer.Body.Close()
			if answer.StatusCode != want {
				t.Errorf("%s of %s answers a request without credentials with %s, not %d", path, address, answer.Status, want)
			}
		}
		client.CloseIdleConnections()
	}
	const binding = "kubeadm:bootstrap-signer-clusterinfo"
	_, err := s.pg.kube(t, s.pg.api("cp1")).RbacV1().RoleBindings("kube-public").Get(soon(t), binding, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the RoleBinding %s, which somebody had deleted, is there again: error %v", binding, err)
	}
}

func apisOf(s *scenario) (all []string) {
	for _, name := range s.serving() {
		all = append(all, s.pg.api(name))
	}
	return all
}

// serverOf is the one server of a kubeconfig.
func serverOf(t *testing.T, kubeconfig string) string {
	t.Helper()
	c, err := clientcmd.Load([]byte(kubeconfig))
	if err != nil || len(c.Clusters) != 1 {
		t.Errorf("reading a kubeconfig: %v", err)
		return ""
	}
	for _, cluster := range c.Clusters {
		return cluster.Server
	}
	return ""
}

func checkKubeadmConfig(t *testing.T, s *scenario, text string) {
	t.Helper()
	var config struct {
		ControlPlaneEndpoint string `json:"controlPlaneEndpoint"`
		APIServer            struct {
			CertSANs []string `json:"certSANs"`
		} `json:"apiServer"`
		Etcd struct {
			Local    any `json:"local"`
			External struct {
				Endpoints []string `json:"endpoints"`
				CAFile    string   `json:"caFile"`
				CertFile  string   `json:"certFile"`
				KeyFile   string   `json:"keyFile"`
			} `json:"external"`
		} `json:"etcd"`
	}
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		t.Errorf("reading kubeadm-config: %v", err)
		return
	}
	if config.ControlPlaneEndpoint != s.pg.endpoint() {
		t.Errorf("kubeadm-config: controlPlaneEndpoint is %q, not %q", config.ControlPlaneEndpoint, s.pg.endpoint())
	}
	if !slices.Contains(config.APIServer.CertSANs, hostOf(t, s.pg.endpoint())) {
		t.Errorf("kubeadm-config: certSANs are %v, without the endpoint", config.APIServer.CertSANs)
	}
	external := config.Etcd.External
	var want []string
	for _, name := range etcdHosts() {
		want = append(want, "https://"+s.pg.address(name)+":2379")
	}
	if slices.Sort(external.Endpoints); !slices.Equal(external.Endpoints, want) {
		t.Errorf("kubeadm-config: etcd.external.endpoints are %v, not %v", external.Endpoints, want)
	}
	if config.Etcd.Local != nil || external.CAFile == "" || external.CertFile == "" || external.KeyFile == "" {
		t.Errorf("kubeadm-config: etcd.local is %v, and the files of etcd.external are %q, %q, %q", config.Etcd.Local, external.CAFile, external.CertFile, external.KeyFile)
	}
}

// noSecrets: what the program printed and its journal hold no key.
func noSecrets(t *testing.T, s *scenario) {
	cp1 := s.pg.hosts["cp1"]
	encryption := strings.TrimSpace(cp1.must(t, `sed -n 's/.*secret: "\(.*\)".*/\1/p' /etc/kubernetes/encryption/config.yaml`))
	if encryption == "" {
		t.Fatal("no encryption key was found on cp1 to look for")
	}
	words := []string{encryption, secretWord(0), "PRIVATE KEY-----"}
	for _, file := range []string{"pki/ca.key", "pki/sa.key", "pki/etcd/ca.key"} {
		lines := strings.Split(cp1.must(t, "cat /etc/kubernetes/"+file), "\n")
		words = append(words, lines[1]) // of the key itself, between BEGIN and END
	}
	for name, text := range writtenByProgram(t, s) {
		for i, w := range words {
			if strings.Contains(text, w) {
				t.Errorf("%s holds secret %d of those looked for", name, i)
			}
		}
	}
}

// crossReads: what is written through one API server is read through the
// other two, encrypted Secrets too; a token of before is good for all.
func crossReads(t *testing.T, s *scenario) {
	etcd := s.pg.members(t)["e2"]
	for _, name := range controlPlanes() {
		object := "through-" + name
		if err := createThrough(t, s, name, object); err != nil {
			t.Errorf("creating through the API server of %s: %v", name, err)
			continue
		}
		raw, err := rawSecret(soon(t), etcd, object)
		if err != nil || !strings.HasPrefix(string(raw), "k8s:enc:secretbox:v1:key1:") {
			t.Errorf("the API server of %s did not encrypt a Secret: error %v, %.30q", name, err, raw)
		}
		for _, other := range controlPlanes() {
			err := poll(t.Context(), settle, func(ctx context.Context) error { return readThrough(ctx, s, s.pg.kube(t, s.pg.api(other)), object) })
			if err != nil {
				t.Errorf("created through the API server of %s, read through that of %s: %v", name, other, err)
			}
		}
	}
	for _, name := range controlPlanes() {
		if err := tokenWorks(soon(t), s.pg.restConfig(t, s.pg.api(name)), s.before.token); err != nil {
			t.Errorf("a token of before, at the API server of %s: %v", name, err)
		}
	}
	for _, name := range controlPlanes() {
		secret, err := s.pg.kube(t, s.pg.api(name)).CoreV1().Secrets(namespace).Get(soon(t), "before-1", metav1.GetOptions{})
		if err != nil || string(secret.Data["word"]) != secretWord(1) {
			t.Errorf("a Secret of before, through the API server of %s: %v", name, fmt.Sprint(err))
		}
	}
}
