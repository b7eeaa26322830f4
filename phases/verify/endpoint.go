package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
	"hamigrate/phases/balancers"
	"hamigrate/phases/controlplane"
	"hamigrate/phases/etcd"
	"hamigrate/phases/loadbalancer"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func loadBalancer(ctx context.Context, v phases.Reader) ([]Finding, error) {
	want, err := apiAddresses(ctx, v)
	if err != nil {
		return nil, err
	}
	f, err := balancers.Of(v.Spec()).Forwards(ctx, v)
	if err != nil {
		return nil, err
	}
	var wrong []string
	for _, a := range want {
		if !slices.Contains(f.Backends, a) {
			wrong = append(wrong, "it does not forward to "+a)
		}
	}
	for _, a := range f.Backends {
		if !slices.Contains(want, a) {
			wrong = append(wrong, "it forwards to "+a+", which is no API server of the spec")
		}
	}
	if f.Stale != "" {
		wrong = append(wrong, f.Stale)
	}
	return passOrFail(wrong, "it forwards to %s", strings.Join(f.Backends, ", ")), nil
}

// spreadTries bounds the connections that are held open at once: nginx counts
// them by worker process, so few do not meet all API servers.
const spreadTries = 60

// spread holds connections to the endpoint until every API server has shown
// its certificate. They are opened from all nodes in turn: a load balancer may
// choose by the client's address.
func spread(ctx context.Context, v phases.Reader) ([]Finding, error) {
	roots, err := clusterRoots(ctx, v)
	if err != nil {
		return nil, err
	}
	serials := map[string]string{}
	for _, node := range planes(v) {
		address, err := v.APIAddress(ctx, node)
		if err != nil {
			return nil, err
		}
		cert, err := kube.ServedCertificate(ctx, v.On(node).DialContext, address, roots)
		if err != nil {
			return nil, err
		}
		serials[cert.SerialNumber.String()] = node
	}
	missing := map[string]string{}
	for serial, node := range serials {
		missing[serial] = node
	}
	workers, err := v.Workers(ctx)
	if err != nil {
		return nil, err
	}
	from := planes(v)
	for _, w := range workers {
		from = append(from, w.Name)
	}
	tries := 0
	for ; tries < spreadTries && len(missing) > 0; tries++ {
		conn, cert, err := balancer.Meet(ctx, v, from[tries%len(from)], roots)
		if err != nil {
			return []Finding{not("", "%v", err)}, nil
		}
		defer conn.Close()
		delete(missing, cert.SerialNumber.String())
	}
	var wrong []string
	for _, node := range missing {
		wrong = append(wrong, fmt.Sprintf("none of %d connections met the API server of %s", tries, node))
	}
	slices.Sort(wrong)
	return passOrFail(wrong, "%d connections met all %d", tries, len(serials)), nil
}

func endpoint(ctx context.Context, v phases.Reader) ([]Finding, error) {
	err := balancer.CarriedHere(ctx, v)
	if errors.Is(err, phases.ErrNotLooked) {
		return []Finding{not("run `migrate verify` again", "whether this node reaches the API through %s was not looked at: %v", v.EndpointAddress(), err)}, nil
	}
	if !balancers.Of(v.Spec()).Configured() {
		return wanted(err, "%s answers with a certificate for it, and means no node", v.EndpointAddress()), nil
	}
	return wanted(err, "%s answers with a certificate for it, through a load balancer of the spec", v.EndpointAddress()), nil
}

// ownOrEndpoint says whether a client on a node may use a server: the
// endpoint, or on a control-plane node the API server beside it.
func ownOrEndpoint(ctx context.Context, v phases.Reader, server string) (bool, error) {
	if server == v.EndpointURL() {
		return true, nil
	}
	if !slices.Contains(planes(v), v.Target()) {
		return false, nil
	}
	own, err := v.APIAddress(ctx, v.Target())
	return server == "https://"+own, err
}

func kubelet(ctx context.Context, v phases.Reader) ([]Finding, error) {
	const file = "/etc/kubernetes/kubelet.conf"
	server, err := hostfiles.KubeconfigServer(ctx, v.On(v.Target()), file)
	if err != nil {
		return nil, err
	}
	fine, err := ownOrEndpoint(ctx, v, server)
	if err != nil {
		return nil, err
	}
	if !fine {
		return []Finding{not("", "%s names %s", file, server)}, nil
	}
	if server != v.EndpointURL() {
		return []Finding{so("%s names the API server beside it", file)}, nil
	}
	// The file alone proves nothing: the kubelet reads it when it starts.
	connected, others, err := loadbalancer.KubeletTalks(ctx, v)
	if err != nil {
		return nil, err
	}
	switch {
	case len(others) > 0:
		return []Finding{not("`systemctl restart kubelet` on it", "%s names the endpoint, and the kubelet is connected to %s", file, strings.Join(others, ", "))}, nil
	case !connected:
		return []Finding{not("`systemctl restart kubelet` on it", "%s names the endpoint, and the kubelet is not connected to it", file)}, nil
	}
	return []Finding{so("it is connected to %s", v.EndpointAddress())}, nil
}

// kubeconfigs: those of administrators name the endpoint; controller-manager
// and scheduler may use the API server beside them, which is kubeadm's rule.
func kubeconfigs(ctx context.Context, v phases.Reader) ([]Finding, error) {
	var wrong []string
	seen := 0
	for _, f := range []struct {
		name   string
		beside bool
	}{{"admin", false}, {"super-admin", false}, {"controller-manager", true}, {"scheduler", true}} {
		file := "/etc/kubernetes/" + f.name + ".conf"
		server, err := hostfiles.KubeconfigServer(ctx, v.On(v.Target()), file)
		if errors.Is(err, fs.ErrNotExist) && f.name == "super-admin" {
			continue // on the first node alone, and since kubeadm 1.29
		}
		if err != nil {
			return nil, err
		}
		seen++
		fine := server == v.EndpointURL()
		if f.beside {
			if fine, err = ownOrEndpoint(ctx, v, server); err != nil {
				return nil, err
			}
		}
		if !fine {
			wrong = append(wrong, fmt.Sprintf("%s names %s", file, server))
		}
	}
	return passOrFail(wrong, "%d files", seen), nil
}

func clusterInfo(ctx context.Context, v phases.Reader) ([]Finding, error) {
	return wanted(loadbalancer.VerifyClusterInfo(ctx, v), "it names %s", v.EndpointURL()), nil
}

// kubeProxy looks at the pods as well: the ConfigMap is what the next one reads.
func kubeProxy(ctx context.Context, v phases.Reader) ([]Finding, error) {
	err := loadbalancer.VerifyKubeProxy(ctx, v)
	if apierrors.IsNotFound(err) {
		return []Finding{so("this cluster has no kube-proxy")}, nil
	}
	if errors.Is(err, loadbalancer.ErrOtherKubeProxy) {
		return []Finding{so("%v: which API server it uses is not seen", err)}, nil
	}
	return wanted(err, "every Ready node has one that is Ready and uses %s", v.EndpointURL()), nil
}

// coreDNS wants two nodes also where somebody has chosen one replica: the
// migration leaves that alone, and the loss of its node is an outage all the
// same.
func coreDNS(ctx context.Context, v phases.Reader) ([]Finding, error) {
	d, nodes, err := controlplane.CoreDNSNodes(ctx, v)
	if apierrors.IsNotFound(err) {
		return []Finding{so("this cluster has no Deployment coredns")}, nil
	}
	if err != nil {
		return nil, err
	}
	switch {
	case len(nodes) > 1:
		return []Finding{so("CoreDNS runs on %s", strings.Join(nodes, ", "))}, nil
	case d.Spec.Replicas != nil && *d.Spec.Replicas < 2:
		return []Finding{not("`kubectl -n kube-system scale deployment coredns --replicas=2`", "CoreDNS is to have %d pods; Ready ones are on %s", *d.Spec.Replicas, some(nodes))}, nil
	}
	return []Finding{not("", "Ready pods of CoreDNS are on %s only", some(nodes))}, nil
}

func some(nodes []string) string {
	if len(nodes) == 0 {
		return "no node"
	}
	return strings.Join(nodes, ", ")
}

func kubeadmConfig(ctx context.Context, v phases.Reader) ([]Finding, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return nil, err
	}
	var wrong []string
	if got := cc.ControlPlaneEndpoint(); got != v.EndpointAddress() {
		wrong = append(wrong, fmt.Sprintf("controlPlaneEndpoint is %q, not %s", got, v.EndpointAddress()))
	}
	says, ok := etcd.Of(v.Spec()).Config(v.Spec(), cc)
	if !ok {
		wrong = append(wrong, says)
	}
	return passOrFail(wrong, "controlPlaneEndpoint is %s, and %s", v.EndpointAddress(), says), nil
}

func kubernetesService(ctx context.Context, v phases.Reader) ([]Finding, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	have, err := k.EndpointAddresses(ctx, "default", "kubernetes")
	if err != nil {
		return nil, err
	}
	want := []string{v.First().Address}
	for _, h := range v.Spec().ControlPlane.Joining {
		want = append(want, h.Address)
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		return []Finding{not("", "behind it are %s, not %s", strings.Join(have, ", "), strings.Join(want, ", "))}, nil
	}
	return []Finding{so("behind it are %s", strings.Join(have, ", "))}, nil
}
