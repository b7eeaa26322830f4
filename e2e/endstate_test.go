package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// settle bounds what may still be under way when a run has ended: nothing is
// to be repaired by waiting, but a status is written a moment later.
const settle = 20 * time.Second

func threeControlPlanes(t *testing.T, s *scenario) {
	c := s.pg.kube(t, s.pg.endpoint())
	eventually(t, settle, "three Ready control-plane nodes", func(ctx context.Context) error {
		list, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "node-role.kubernetes.io/control-plane"})
		if err != nil {
			return err
		}
		var names []string
		for _, n := range list.Items {
			names = append(names, n.Name)
			if want := "v" + s.kubernetes; n.Status.NodeInfo.KubeletVersion != want {
				return fmt.Errorf("the kubelet of %s is %s, not %s", n.Name, n.Status.NodeInfo.KubeletVersion, want)
			}
		}
		slices.Sort(names)
		if !slices.Equal(names, controlPlanes()) {
			return fmt.Errorf("the control-plane nodes are %v, not %v", names, controlPlanes())
		}
		for _, name := range append(controlPlanes(), workers()...) {
			if err := nodeReady(ctx, c, name); err != nil {
				return err
			}
		}
		return nil
	})
	for _, name := range controlPlanes() {
		if err := readyz(soon(t), s.pg.kubeAnew(t, s.pg.api(name))); err != nil {
			t.Errorf("the API server of %s is not ready: %v", name, err)
		}
	}
}

func threeMembers(t *testing.T, s *scenario) {
	members := s.pg.members(t)
	for name, c := range members {
		if err := s.pg.memberList(soon(t), c); err != nil {
			t.Errorf("as %s tells it: %v", name, err)
		}
	}
	eventually(t, settle, "equal hashes of all members", func(ctx context.Context) error {
		return sameHistory(ctx, members, s.before.registry.cluster)
	})
	for _, name := range etcdHosts() {
		out := s.pg.hosts[name].must(t, "ps -o user= -C etcd; systemctl is-enabled etcd.service; systemctl is-active etcd.service")
		if got, want := strings.Fields(out), []string{"etcd", "enabled", "active"}; !slices.Equal(got, want) {
			t.Errorf("on %s the processes' users and the unit's states are %v, not %v", name, got, want)
		}
	}
}

// noEtcdOnControlPlane: no process, no listener, no manifest, no data that
// an etcd would find, no pod.
func noEtcdOnControlPlane(t *testing.T, s *scenario) {
	for _, name := range controlPlanes() {
		out := s.pg.hosts[name].must(t, `pgrep -ax etcd; ss -Htlnp '( sport = :2379 or sport = :2380 )'; ls /etc/kubernetes/manifests | grep etcd; ls -d /var/lib/etcd/member 2>/dev/null; true`)
		if out != "" {
			t.Errorf("%s still has something of etcd:\n%s", name, out)
		}
	}
	pods, err := podsOf(soon(t), s.pg.kube(t, s.pg.endpoint()), "kube-system", "component=etcd")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		t.Errorf("there is still the pod %s", p.Name)
	}
}

func objectsUnchanged(t *testing.T, s *scenario) {
	after := dumpRegistry(t, s.pg.members(t)["e1"])
	if after.revision < s.before.registry.revision {
		t.Errorf("the revision went back from %d to %d: this is another history", s.before.registry.revision, after.revision)
	}
	compareDumps(t, s.before.registry, after, s.allowed(exceptions()))
	for _, name := range newSecrets(s.before.registry, after) {
		secret, err := s.pg.kube(t, s.pg.endpoint()).CoreV1().Secrets("kube-system").Get(soon(t), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// kubeadm init phase upload-certs makes a token that opens nothing:
		// with it the uploaded certificates expire (copycerts.go,
		// createShortLivedBootstrapToken).
		if secret.Data["usage-bootstrap-authentication"] == nil && secret.Data["usage-bootstrap-signing"] == nil && len(secret.Data["expiration"]) > 0 {
			continue
		}
		t.Errorf("the migration left the Secret %s", name)
	}
}

// writesKept reads every acknowledged write back through each API server.
func writesKept(t *testing.T, s *scenario) {
	for _, w := range s.writers {
		w.stop()
		t.Log(w)
		if w.failures > 0 {
			if busy, said := s.canary.overloaded(); busy && w.late == w.failures && 100*w.late <= lateShare*w.acked {
				t.Logf("the machine did not keep up: %s", said)
			} else {
				s.refused = append(s.refused, w.String())
				t.Errorf("%s", w)
			}
		}
		for _, name := range s.serving() {
			if err := w.check(soon(t), s.pg.kube(t, s.pg.api(name))); err != nil {
				t.Errorf("read through %s: %v", name, err)
			}
		}
	}
}

// apiServerArguments reads what the processes were really started with, and
// whom they are connected to.
func apiServerArguments(t *testing.T, s *scenario) { argumentsOf(t, s, controlPlanes()...) }

// argumentsOf is apiServerArguments of some nodes.
func argumentsOf(t *testing.T, s *scenario, nodes ...string) {
	t.Helper()
	var want []string
	for _, name := range etcdHosts() {
		want = append(want, "https://"+s.pg.address(name)+":2379")
	}
	slices.Sort(want)
	for _, name := range nodes {
		h := s.pg.hosts[name]
		pids := strings.Fields(h.must(t, "pgrep -x kube-apiserver"))
		if len(pids) != 1 {
			t.Errorf("on %s there are %d API servers", name, len(pids))
			continue
		}
		flags := map[string]string{}
		for line := range strings.Lines(h.must(t, "tr '\\0' '\\n' </proc/"+pids[0]+"/cmdline")) {
			flag, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			flags[flag] = value
		}
		servers := strings.Split(flags["--etcd-servers"], ",")
		slices.Sort(servers)
		if !slices.Equal(servers, want) {
			t.Errorf("the API server of %s runs with --etcd-servers=%s, not %v", name, flags["--etcd-servers"], want)
		}
		if flags["--advertise-address"] != s.pg.address(name) {
			t.Errorf("the API server of %s runs with --advertise-address=%s", name, flags["--advertise-address"])
		}
		for _, flag := range []string{"--encryption-provider-config", "--audit-policy-file", "--audit-log-path"} {
			if flags[flag] == "" {
				t.Errorf("the API server of %s runs without %s, which cp1 had before", name, flag)
			}
		}
		if log := flags["--audit-log-path"]; log != "" {
			h.must(t, "test -s "+log)
		}
		peers, err := h.sockets(soon(t), "kube-apiserver", 2379)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range peers {
			if !slices.Contains(want, "https://"+p.peer) {
				t.Errorf("the API server of %s is connected to the etcd at %s", name, p.peer)
			}
		}
		if len(peers) == 0 {
			t.Errorf("the API server of %s is connected to no etcd", name)
		}
	}
}

// nodeSockets: what a kubelet's file says is not yet what it does.
func nodeSockets(t *testing.T, s *scenario) {
	p := s.pg
	type client struct{ host, process, to string }
	var all []client
	for _, w := range workers() {
		all = append(all, client{w, "kubelet", p.endpoint()}, client{w, "kube-proxy", p.endpoint()})
	}
	// kubeadm's rule: on a control-plane node the components talk to the API
	// server beside them, only kube-proxy is everywhere the same.
	for _, cp := range controlPlanes() {
		all = append(all, client{cp, "kubelet", p.api(cp)}, client{cp, "kube-proxy", p.endpoint()})
	}
	for _, c := range all {
		err := poll(t.Context(), settle, func(ctx context.Context) error {
			return p.hosts[c.host].talksOnlyTo(ctx, c.process, p.reach(c.to), 6443)
		})
		if err != nil {
			t.Errorf("sockets: %v", err)
		}
	}
	through, err := p.hosts["lb1"].run(soon(t), "ss -Htn state established '( sport = :6443 )' | awk '{print $4}'")
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range slices.Concat(controlPlanes(), workers()) {
		if !strings.Contains(through, p.address(node)+":") {
			t.Errorf("%s has no connection through the load balancer; lb1 has those of:\n%s", node, through)
		}
	}
}

// servicesSpread: CoreDNS on more than one node, and three API servers behind
// the kubernetes Service.
func servicesSpread(t *testing.T, s *scenario) {
	c := s.pg.kube(t, s.pg.endpoint())
	eventually(t, settle, "CoreDNS on two nodes", func(ctx context.Context) error {
		if err := deploymentReady(ctx, c, "kube-system", "coredns"); err != nil {
			return err
		}
		pods, err := podsOf(ctx, c, "kube-system", "k8s-app=kube-dns")
		if err != nil {
			return err
		}
		nodes := map[string]bool{}
		for _, p := range pods {
			nodes[p.Spec.NodeName] = true
		}
		if len(nodes) < 2 {
			return fmt.Errorf("the pods of CoreDNS are on %v", sortedKeys(nodes))
		}
		return nil
	})
	var want []string
	for _, name := range controlPlanes() {
		want = append(want, s.pg.address(name))
	}
	slices.Sort(want)
	eventually(t, settle, "three API servers behind the kubernetes Service", func(ctx context.Context) error {
		return endpointsAre(ctx, c, want...)
	})
}

// endpointsAre says why the kubernetes Service has not these addresses.
func endpointsAre(ctx context.Context, c kubernetes.Interface, want ...string) error {
	slice, err := c.DiscoveryV1().EndpointSlices("default").Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		return err
	}
	var have []string
	for _, e := range slice.Endpoints {
		have = append(have, e.Addresses...)
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		return fmt.Errorf("behind the kubernetes Service are %v, not %v", have, want)
	}
	return nil
}

// askSite is what the load balancer's host serves besides.
func askSite(t *testing.T, p *playground) string {
	t.Helper()
	request, err := http.NewRequestWithContext(soon(t), http.MethodGet, "http://"+p.address("lb1")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: attemptTimeout}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatalf("asking the unrelated site: %v", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("reading the unrelated site: %v", err)
	}
	// The load balancer forwards a port of its own to it already.
	forwarded, err := client.Get("http://" + p.address("lb1") + ":8081/")
	if err != nil {
		t.Fatalf("asking the unrelated site through the forward that was there: %v", err)
	}
	defer forwarded.Body.Close()
	if same, err := io.ReadAll(forwarded.Body); err != nil || string(same) != string(body) {
		t.Errorf("the forward that was there answers %q, error %v", same, err)
	}
	if len(body) == 0 {
		t.Fatal("the unrelated site answers nothing")
	}
	return answer.Status + "\n" + answer.Header.Get("Content-Type") + "\n" + string(body)
}

func unrelatedSite(t *testing.T, s *scenario) {
	if now := askSite(t, s.pg); now != s.before.site {
		t.Errorf("the unrelated site answers another thing:\n%s", strings.Join(differingLines(s.before.site, now), "\n"))
	}
}

// rawSecret reads a Secret as etcd has it.
func rawSecret(ctx context.Context, c *clientv3.Client, name string) ([]byte, error) {
	r, err := c.Get(ctx, registry+"secrets/"+namespace+"/"+name)
	if err != nil {
		return nil, err
	}
	if len(r.Kvs) != 1 {
		return nil, fmt.Errorf("etcd has no Secret %s", name)
	}
	return r.Kvs[0].Value, nil
}
