package playground

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const (
	// writers is how many objects are on their way at once: enough for etcd
	// to put many into one write to the disk, too few for the API server to
	// queue them.
	writers = 16
	// writeTimeout bounds one request with all its retries, of which there
	// are never more than writeRetries: an API server that is asked too much
	// says 429 and after how many seconds to come again, mostly one.
	writeTimeout = 2 * time.Minute
	writeRetries = 100
)

// fill writes those of the playground's objects that are not there.
func (p *Playground) fill(ctx context.Context) error {
	if p.state.Objects == 0 {
		return nil
	}
	err := p.phase(fmt.Sprintf("filling the cluster with %d objects", p.state.Objects), func() error {
		cfg, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig())
		if err != nil {
			return fmt.Errorf("reading the kubeconfig: %w", err)
		}
		f, err := newFiller(cfg, p.events)
		if err != nil {
			return err
		}
		return f.fill(ctx, p.state.Objects)
	})
	if err != nil {
		return err
	}
	p.state.Filled = true
	return p.save()
}

// filler writes objects through the API, as its users did: they are valid,
// and encrypted where the API server encrypts.
type filler struct {
	core     rest.Interface
	metadata metadata.Interface
	events   Events
}

// newFiller changes cfg.
func newFiller(cfg *rest.Config, events Events) (*filler, error) {
	// The operator's proxy settings are for other ways than this one.
	cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	cfg.Timeout = writeTimeout
	cfg.QPS = -1 // the writers are the limit
	cfg.UserAgent = "migrate-playground"
	cfg.APIPath = "/api"
	cfg.GroupVersion = &corev1.SchemeGroupVersion
	cfg.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	cfg.ContentType = runtime.ContentTypeProtobuf
	client, err := rest.HTTPClientFor(cfg) // one connection for both
	if err != nil {
		return nil, fmt.Errorf("making an API client: %w", err)
	}
	core, err := rest.RESTClientForConfigAndClient(cfg, client)
	if err != nil {
		return nil, fmt.Errorf("making an API client: %w", err)
	}
	names, err := metadata.NewForConfigAndClient(cfg, client)
	if err != nil {
		return nil, fmt.Errorf("making an API client: %w", err)
	}
	return &filler{core: core, metadata: names, events: events}, nil
}

// fill writes those of the first n objects that are not there, and says how
// large etcd's database is then.
func (f *filler) fill(ctx context.Context, n int) error {
	// client-go would log the answers that Ctrl-C cuts off.
	ctx = klog.NewContext(ctx, klog.Logger{})
	for i := range namespaces {
		name := namespace(i)
		if err := f.create(ctx, "namespaces", "", name, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return err
		}
	}
	missing, err := f.missing(ctx, n)
	if err != nil {
		return err
	}
	if there := n - len(missing); there > 0 {
		f.events(fmt.Sprintf("%d of %d objects are there already", there, n))
	}
	if err := f.write(ctx, missing, n); err != nil {
		return err
	}
	size, err := f.databaseSize(ctx)
	if err != nil {
		return fmt.Errorf("asking for the size of etcd's database: %w", err)
	}
	f.events(fmt.Sprintf("etcd's database is %.0f MB", float64(size)/1e6))
	return nil
}

// missing lists the numbers of those of the first n objects that are not
// there. Only names are asked for.
func (f *filler) missing(ctx context.Context, n int) ([]int, error) {
	there := map[string]bool{}
	for _, resource := range []string{configMaps, secrets} {
		for i := range namespaces {
			o := object{resource: resource, namespace: namespace(i)}
			list, err := f.metadata.Resource(corev1.SchemeGroupVersion.WithResource(resource)).
				Namespace(o.namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, fmt.Errorf("listing %s of namespace %s: %w", resource, o.namespace, err)
			}
			for _, item := range list.Items {
				o.name = item.Name
				there[o.key()] = true
			}
		}
	}
	var missing []int
	for i := range n {
		if !there[objectAt(i).key()] {
			missing = append(missing, i)
		}
	}
	return missing, nil
}

// write writes the objects of those numbers and says after each tenth of all
// n how far it is.
func (f *filler) write(ctx context.Context, numbers []int, n int) error {
	var next, done atomic.Int64
	done.Store(int64(n - len(numbers)))
	return each(ctx, make([]struct{}, writers), writers, func(ctx context.Context, _ struct{}) error {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(numbers) {
				return nil
			}
			o := objectAt(numbers[i])
			if err := f.create(ctx, o.resource, o.namespace, o.name, o.body()); err != nil {
				return err
			}
			if d := int(done.Add(1)); d*10/n > (d-1)*10/n {
				f.events(fmt.Sprintf("writing objects: %d of %d", d, n))
			}
		}
	})
}

// create makes one object; one that is there is left as it is. client-go
// waits and tries again where the API server asks it to.
func (f *filler) create(ctx context.Context, resource, namespace, name string, body runtime.Object) error {
	err := f.core.Post().Resource(resource).NamespaceIfScoped(namespace, namespace != "").
		MaxRetries(writeRetries).Body(body).Do(ctx).Error()
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating %s/%s/%s: %w", resource, namespace, name, err)
	}
	return nil
}

// sizeMetric is the database of the etcd that the API server writes to, one
// line an endpoint, asked of etcd at that moment (k8s.io/apiserver,
// pkg/storage/etcd3/metrics).
const sizeMetric = "apiserver_storage_size_bytes"

// databaseSize is the size in bytes of etcd's database, the largest if there
// are several members.
func (f *filler) databaseSize(ctx context.Context) (int64, error) {
	metrics, err := f.core.Get().AbsPath("/metrics").SetHeader("Accept", "text/plain").Do(ctx).Raw()
	if err != nil {
		return 0, err
	}
	var size float64
	for lines := bufio.NewScanner(bytes.NewReader(metrics)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) != 2 || !strings.HasPrefix(words[0], sizeMetric+"{") {
			continue
		}
		one, err := strconv.ParseFloat(words[1], 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", sizeMetric, err)
		}
		size = max(size, one)
	}
	if size == 0 {
		return 0, fmt.Errorf("the API server's metrics have no %s", sizeMetric)
	}
	return int64(size), nil
}
