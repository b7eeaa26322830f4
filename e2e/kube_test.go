package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// controlPlanes are the nodes that are to run an API server in the end.
func controlPlanes() []string { return []string{"cp1", "cp2", "cp3"} }

// restConfig is an administrator's, for one API server or the endpoint.
func (p *playground) restConfig(t *testing.T, address string) *rest.Config {
	t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", p.file("kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	c.Host = "https://" + address
	c.Dial = p.dial
	c.Timeout = attemptTimeout
	c.QPS, c.Burst = 100, 200
	return c
}

// kube is a client of one API server, or of whichever the endpoint chooses.
func (p *playground) kube(t *testing.T, address string) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(p.restConfig(t, address))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// kubeAnew is a client that makes a new connection for each request: what
// passes on a kept one proves nothing about the load balancer.
func (p *playground) kubeAnew(t *testing.T, address string) *kubernetes.Clientset {
	t.Helper()
	config := p.restConfig(t, address)
	clientTLS, err := rest.TLSConfigFor(config)
	if err != nil {
		t.Fatal(err)
	}
	c, err := kubernetes.NewForConfigAndClient(config, &http.Client{
		Timeout:   attemptTimeout,
		Transport: &http.Transport{TLSClientConfig: clientTLS, DialContext: config.Dial, DisableKeepAlives: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// roots is the cluster's CA, read before anything was changed.
func (p *playground) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(p.restConfig(t, p.api("cp1")).CAData) {
		t.Fatal("the kubeconfig that playground up wrote has no CA")
	}
	return pool
}

// reach is an address of the playground as this machine reaches it: the name
// of the endpoint is known to the playground's hosts alone, and means the load
// balancer there.
func (p *playground) reach(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || net.ParseIP(host) != nil || host != p.endpointHost() {
		return address
	}
	return net.JoinHostPort(p.address("lb1"), port)
}

func (p *playground) endpointHost() string {
	host, _, _ := strings.Cut(p.endpoint(), ":")
	return host
}

// dial connects to an address of the playground.
func (p *playground) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, p.reach(address))
}

// served is the certificate shown at address to a client that calls for name.
func (p *playground) served(ctx context.Context, roots *x509.CertPool, address, name string) (*tls.Conn, *x509.Certificate, error) {
	conn, err := p.dial(ctx, "tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("calling %s: %w", address, err)
	}
	c := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: name})
	if err := c.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("calling %s by the name %s: %w", address, name, err)
	}
	return c, c.ConnectionState().PeerCertificates[0], nil
}

// nodeReady says why a node is not Ready, nil when it is.
func nodeReady(ctx context.Context, c kubernetes.Interface, name string) error {
	n, err := c.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, cond := range n.Status.Conditions {
		if cond.Type == corev1.NodeReady {
			if cond.Status == corev1.ConditionTrue {
				return nil
			}
			return fmt.Errorf("node %s: Ready is %s: %s: %s", name, cond.Status, cond.Reason, cond.Message)
		}
	}
	return fmt.Errorf("node %s has no condition Ready", name)
}

// deploymentReady says why a Deployment is not rolled out, nil when it is.
func deploymentReady(ctx context.Context, c kubernetes.Interface, namespace, name string) error {
	d, err := c.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != want || s.AvailableReplicas != want || s.Replicas != want {
		return fmt.Errorf("of the %d pods of Deployment %s/%s %d are there, %d up to date, %d available", want, namespace, name, s.Replicas, s.UpdatedReplicas, s.AvailableReplicas)
	}
	return nil
}

// readyz asks one API server whether it is ready.
func readyz(ctx context.Context, c *kubernetes.Clientset) error {
	_, err := c.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	return err
}

// hostOf is the host of host:port.
func hostOf(t *testing.T, address string) string {
	t.Helper()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// since is a bound for "after": node clocks here are one clock, and the API
// keeps whole seconds.
func since(t time.Time) time.Time { return t.Truncate(time.Second) }
