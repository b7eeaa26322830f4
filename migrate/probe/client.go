package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

const userAgent = "migrate-probe"

// endpoint makes clients for one path. Each client has connections of its
// own, so that one kind of request does not lean on another's.
type endpoint struct {
	path  Path
	base  *url.URL
	tls   *tls.Config
	token func() (string, error)
}

func newEndpoint(cfg Config, path Path) (*endpoint, error) {
	if path.Name == "" {
		return nil, errors.New("a path needs a name")
	}
	base, err := url.Parse(path.URL)
	if err != nil {
		return nil, fmt.Errorf("reading the URL of path %s: %w", path.Name, err)
	}
	if base.Scheme != "https" || base.Hostname() == "" {
		return nil, fmt.Errorf("the URL of path %s must be https://host:port, not %q", path.Name, path.URL)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(cfg.CA) {
		return nil, errors.New("the CA holds no certificate in PEM form")
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: base.Hostname()}
	if cfg.Certificate != nil {
		tlsConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return cfg.Certificate()
		}
	}
	return &endpoint{path: path, base: base, tls: tlsConfig, token: cfg.Token}, nil
}

// dial opens a connection to the path and tells opened about it.
func (e *endpoint) dial(opened func()) func(context.Context, string, string) (net.Conn, error) {
	dial := e.path.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		opened()
		return dialled{conn, time.Now()}, nil
	}
}

// transport has no proxy: a path is dialled as it is given. Without keep,
// each request has a connection of its own, closed afterwards; TLS sessions
// are never resumed.
func (e *endpoint) transport(keep bool, opened func()) *http.Transport {
	t := &http.Transport{
		Proxy:             func(*http.Request) (*url.URL, error) { return nil, nil },
		DialContext:       e.dial(opened),
		TLSClientConfig:   e.tls.Clone(),
		DisableKeepAlives: !keep,
	}
	if keep {
		// What rest.TransportFor does: HTTP/2 where the server has it, with
		// client-go's pings that find a dead connection.
		return utilnet.SetTransportDefaults(t)
	}
	return t
}

// fresh returns an HTTP client that makes a new connection for each request.
func (e *endpoint) fresh(opened func()) *http.Client {
	return &http.Client{
		Transport:     &observed{next: e.transport(false, opened), token: e.token},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// kept returns a client-go client on a kept connection of its own, without
// client-go's throttling.
func (e *endpoint) kept(namespace string, opened func()) (*api, error) {
	transport := e.transport(true, opened)
	client, err := rest.RESTClientForConfigAndClient(&rest.Config{
		Host:      e.base.String(),
		APIPath:   "/api",
		UserAgent: userAgent,
		QPS:       -1,
		ContentConfig: rest.ContentConfig{
			GroupVersion:         &corev1.SchemeGroupVersion,
			NegotiatedSerializer: scheme.Codecs.WithoutConversion(),
		},
	}, &http.Client{Transport: &observed{next: transport, token: e.token}})
	if err != nil {
		return nil, fmt.Errorf("making a client for path %s: %w", e.path.Name, err)
	}
	return &api{rest: client, namespace: namespace, close: transport.CloseIdleConnections}, nil
}

// api makes requests by client-go. Reads and writes are made again only where
// client-go does so for everybody, and that is counted (see attempt).
type api struct {
	rest      rest.Interface
	namespace string
	close     func() // closes the connections, once idle
}

func (a *api) get(ctx context.Context, name string) (*corev1.ConfigMap, error) {
	got := &corev1.ConfigMap{}
	err := a.scoped(a.rest.Get()).Name(name).Do(ctx).Into(got)
	return got, err
}

func (a *api) create(ctx context.Context, cm *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	made := &corev1.ConfigMap{}
	err := a.scoped(a.rest.Post()).Body(cm).Do(ctx).Into(made)
	return made, err
}

func (a *api) update(ctx context.Context, cm *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	made := &corev1.ConfigMap{}
	err := a.scoped(a.rest.Put()).Name(cm.Name).Body(cm).Do(ctx).Into(made)
	return made, err
}

func (a *api) delete(ctx context.Context, cm *corev1.ConfigMap) error {
	return a.scoped(a.rest.Delete()).Name(cm.Name).Body(&metav1.DeleteOptions{}).Do(ctx).Error()
}

// resourceVersion is the present one, for the start of a watch.
func (a *api) resourceVersion(ctx context.Context) (string, error) {
	list := &corev1.ConfigMapList{}
	// No object has this name: the list is empty and still has a version.
	none := fields.OneTermEqualSelector("metadata.name", "no-such-object").String()
	err := a.scoped(a.rest.Get()).MaxRetries(0).
		VersionedParams(&metav1.ListOptions{FieldSelector: none}, scheme.ParameterCodec).
		Do(ctx).Into(list)
	return list.ResourceVersion, err
}

// watch watches the ConfigMaps of one path from a resourceVersion on.
func (a *api) watch(ctx context.Context, path, resourceVersion string) (watch.Interface, error) {
	return a.scoped(a.rest.Get()).MaxRetries(0).
		VersionedParams(&metav1.ListOptions{
			LabelSelector:       labels.Set{pathLabel: path}.String(),
			ResourceVersion:     resourceVersion,
			AllowWatchBookmarks: true,
			Watch:               true,
		}, scheme.ParameterCodec).
		Watch(ctx)
}

// followed is how often an answer that says "try again in a second" is
// followed. client-go's default is 10; within the time limit there is room
// for one, and its answer, not the end of the time, is then the reason told.
const followed = 1

func (a *api) scoped(r *rest.Request) *rest.Request {
	return r.MaxRetries(followed).Namespace(a.namespace).Resource("configmaps")
}
