package phases

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcd"
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
)

// etcdConnections are those to the members that run.
type etcdConnections struct {
	mu  sync.Mutex
	now *etcd.Cluster
	key string // the endpoints of now
	// before are those to other endpoints, oldest first.
	before []*etcd.Cluster
	old    string // where the old member answered clients when last looked for
}

func (e *etcdConnections) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for _, c := range e.before {
		errs = append(errs, c.Close())
	}
	if e.now != nil {
		errs = append(errs, e.now.Close())
	}
	return errors.Join(errs...)
}

// Etcd looks at the etcd members that run at this moment.
func (v Reader) Etcd(ctx context.Context) (*etcd.Reader, error) {
	c, err := v.access.etcdCluster(ctx)
	if err != nil {
		return nil, err
	}
	return &c.Reader, nil
}

// Etcd changes the membership.
func (h Writer) Etcd(ctx context.Context) (*etcd.Cluster, error) { return h.access.etcdCluster(ctx) }

// etcdKept is how many sets of connections to endpoints of before are kept:
// somebody may be asking over one at this moment, and nobody over one so old.
const etcdKept = 16

// etcdCluster connects to what runs now: the old member as long as something
// answers where it did, and every etcd host whose client port answers. Endpoints
// that come back get new connections: gRPC waits long before it tries one again
// that was lost.
func (w *Access) etcdCluster(ctx context.Context) (*etcd.Cluster, error) {
	endpoints, err := w.etcdEndpoints(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range endpoints {
		names = append(names, e.Host+"="+e.Address)
	}
	key := strings.Join(names, ",")
	w.etcd.mu.Lock()
	have, haveKey := w.etcd.now, w.etcd.key
	w.etcd.mu.Unlock()
	if have != nil && haveKey == key {
		return have, nil
	}
	cfg, err := w.etcdTLS(ctx)
	if err != nil {
		return nil, err
	}
	w.etcd.mu.Lock()
	defer w.etcd.mu.Unlock()
	if w.etcd.now != nil && w.etcd.key == key {
		return w.etcd.now, nil // somebody else was faster
	}
	if w.etcd.now != nil {
		w.etcd.before = append(w.etcd.before, w.etcd.now)
	}
	if len(w.etcd.before) > etcdKept {
		// Closing tells nothing that the next call would not.
		_ = w.etcd.before[0].Close()
		w.etcd.before = w.etcd.before[1:]
	}
	w.etcd.now, w.etcd.key = etcd.New(cfg, endpoints), key
	w.etcd.now.Waiting = w.Waiting
	return w.etcd.now, nil
}

// etcdEndpoints looks for all of them side by side.
func (w *Access) etcdEndpoints(ctx context.Context) ([]etcd.Endpoint, error) {
	v, hosts := w.Reader("cluster"), w.spec.EtcdMembers()
	found := make([]*etcd.Endpoint, len(hosts))
	var old string
	err := parallel.Do(
		func() (err error) { old, err = w.oldEndpoint(ctx); return err },
		func() error {
			return parallel.Each(hosts, func(i int, h cluster.Host) error {
				address := net.JoinHostPort(h.Address, strconv.Itoa(etcdflags.EtcdClientPort))
				conn, err := v.On(h.Name).DialContext(ctx, "tcp", address)
				if err != nil {
					return nil // nothing listens there yet
				}
				_ = conn.Close() // it was opened, which is the answer
				found[i] = &etcd.Endpoint{Host: h.Name, Address: address, Dial: v.On(h.Name).DialContext, Waits: w.waits(h.Name), Changing: remote.Changing}
				return nil
			})
		})
	if err != nil {
		return nil, err
	}
	var out []etcd.Endpoint
	for _, e := range found {
		if e != nil {
			out = append(out, *e)
		}
	}
	// The old one last: once it is removed it goes on listening for some
	// seconds and answers nothing, while a learner refuses at once.
	if old != "" {
		first := v.First().Name
		out = append(out, etcd.Endpoint{Host: first, Address: old, Dial: v.On(first).DialContext, Waits: w.waits(first), Changing: remote.Changing})
	}
	return out, nil
}

// oldEndpoint is where the old member answers clients, "" when it does not
// run. Which process it is has to be found once: then, as with the new
// members, what listens there is asked, and has to prove who it is.
func (w *Access) oldEndpoint(ctx context.Context) (string, error) {
	v := w.Reader("cluster")
	w.etcd.mu.Lock()
	known := w.etcd.old
	w.etcd.mu.Unlock()
	if known != "" {
		if conn, err := v.On(v.First().Name).DialContext(ctx, "tcp", known); err == nil {
			_ = conn.Close() // it was opened, which is the answer
			return known, nil
		}
	}
	old, running, err := v.OldEtcd(ctx)
	if err != nil {
		return "", err
	}
	if !running {
		old.ClientAddress = ""
	}
	w.etcd.mu.Lock()
	defer w.etcd.mu.Unlock()
	w.etcd.old = old.ClientAddress
	return w.etcd.old, nil
}

// etcdTLS uses the API server's own etcd client certificate. It is a leaf,
// stays in memory, and its key is the one credential that both the old and
// the new members accept.
func (w *Access) etcdTLS(ctx context.Context) (*tls.Config, error) {
	v := w.Reader("cluster")
	first := v.On(v.First().Name)
	files, err := v.EtcdFiles(ctx)
	if err != nil {
		return nil, err
	}
	data, err := hostfiles.ReadFiles(ctx, first, files.CAFile, files.CertFile, files.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's etcd client certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data[0].Data) {
		return nil, fmt.Errorf("reading %s:%s: no certificate in it", v.First().Name, files.CAFile)
	}
	pair, err := tls.X509KeyPair(data[1].Data, data[2].Data)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's etcd client certificate on %s: %w", v.First().Name, err)
	}
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}
