package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// registry is where the API server keeps everything.
const registry = "/registry/"

// etcdHosts are the hosts that etcd is to move to.
func etcdHosts() []string { return []string{"e1", "e2", "e3"} }

// etcdTLS reads what the API server presents to etcd.
func (p *playground) etcdTLS(t *testing.T) *tls.Config {
	t.Helper()
	const pki = "/etc/kubernetes/pki/"
	read := func(file string) []byte { return []byte(p.hosts["cp1"].must(t, "cat "+pki+file)) }
	pair, err := tls.X509KeyPair(read("apiserver-etcd-client.crt"), read("apiserver-etcd-client.key"))
	if err != nil {
		t.Fatalf("reading the etcd client certificate of cp1: %v", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(read("etcd/ca.crt")) {
		t.Fatal("etcd/ca.crt of cp1 holds no certificate")
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}
}

// etcdOn is a client of the one member at an address as its host sees it.
func (p *playground) etcdOn(t *testing.T, through host, address string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + net.JoinHostPort(address, "2379")},
		TLS:       p.etcdTLS(t),
		Logger:    zap.NewNop(), // what went wrong is in the errors
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return through.dial(ctx, address)
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// members are clients of the three new members, by host.
func (p *playground) members(t *testing.T) map[string]*clientv3.Client {
	t.Helper()
	all := map[string]*clientv3.Client{}
	for _, name := range etcdHosts() {
		all[name] = p.etcdOn(t, p.hosts[name], p.address(name))
	}
	return all
}

// dump is every key below /registry with its value, and the revision that it
// is of.
type dump struct {
	values   map[string][]byte
	revision int64
	cluster  uint64
}

func dumpRegistry(t *testing.T, c *clientv3.Client) dump {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := c.Get(ctx, registry, clientv3.WithPrefix())
	if err != nil {
		t.Fatalf("reading all keys below %s: %v", registry, err)
	}
	d := dump{values: map[string][]byte{}, revision: r.Header.Revision, cluster: r.Header.ClusterId}
	for _, kv := range r.Kvs {
		d.values[string(kv.Key)] = kv.Value
	}
	return d
}

// waitQuiet returns when for a few seconds nothing was written but what an
// idle cluster writes for ever.
func waitQuiet(t *testing.T, c *clientv3.Client) {
	t.Helper()
	const quiet, limit = 5 * time.Second, 2 * time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	last := "nothing"
	changes := c.Watch(ctx, registry, clientv3.WithPrefix())
	for timer := time.NewTimer(quiet); ; {
		select {
		case <-timer.C:
			return
		case <-ctx.Done():
			t.Fatalf("the cluster was not quiet for %s within %s; written last: %s", quiet, limit, last)
		case w, open := <-changes:
			if !open || w.Err() != nil {
				t.Fatalf("watching etcd: %v", errors.Join(w.Err(), ctx.Err()))
			}
			for _, e := range w.Events {
				if !idle(string(e.Kv.Key)) {
					last = string(e.Kv.Key)
					timer.Reset(quiet)
				}
			}
		}
	}
}

// idle says whether a key is one that an idle cluster writes: leases, events,
// and the nodes' heartbeats. The writers of these tests go on in TestChaos.
func idle(key string) bool {
	return slices.ContainsFunc([]string{"leases/", "masterleases/", "peerserverleases/", "events/", "minions/", "configmaps/" + writerNamespace + "/"}, func(prefix string) bool {
		return strings.HasPrefix(key, registry+prefix)
	})
}

// memberList checks the membership as one member tells it.
func (p *playground) memberList(ctx context.Context, c *clientv3.Client) error {
	r, err := c.MemberList(ctx)
	if err != nil {
		return fmt.Errorf("listing members: %w", err)
	}
	want := map[string]bool{}
	for _, name := range etcdHosts() {
		want[p.address(name)] = true
	}
	if len(r.Members) != len(want) {
		return fmt.Errorf("there are %d members, not %d: %v", len(r.Members), len(want), r.Members)
	}
	for _, m := range r.Members {
		if m.IsLearner {
			return fmt.Errorf("member %s is a learner", m.Name)
		}
		if len(m.PeerURLs) != 1 || len(m.ClientURLs) != 1 {
			return fmt.Errorf("member %s has the URLs %v and %v, not one of each", m.Name, m.PeerURLs, m.ClientURLs)
		}
		host := strings.TrimSuffix(strings.TrimPrefix(m.PeerURLs[0], "https://"), ":2380")
		if !want[host] || m.ClientURLs[0] != "https://"+host+":2379" {
			return fmt.Errorf("member %s has the URLs %v and %v, not those of an etcd host of its own", m.Name, m.PeerURLs, m.ClientURLs)
		}
		delete(want, host)
	}
	return nil
}

// sameHistory checks that all members are of one cluster, follow one leader
// and have equal hashes at one revision.
func sameHistory(ctx context.Context, members map[string]*clientv3.Client, cluster uint64) error {
	var revision int64
	leaders := map[uint64]bool{}
	for name, c := range members {
		s, err := c.Status(ctx, c.Endpoints()[0])
		if err != nil {
			return fmt.Errorf("asking the member on %s: %w", name, err)
		}
		if s.Header.ClusterId != cluster {
			return fmt.Errorf("the member on %s is of cluster %x, the objects of before were in %x", name, s.Header.ClusterId, cluster)
		}
		if s.IsLearner || len(s.Errors) > 0 {
			return fmt.Errorf("the member on %s is a learner (%t) or has errors: %v", name, s.IsLearner, s.Errors)
		}
		leaders[s.Leader] = true
		if revision == 0 || s.Header.Revision < revision {
			revision = s.Header.Revision
		}
	}
	if len(leaders) != 1 || leaders[0] {
		return fmt.Errorf("the members follow the leaders %v, not one", leaders)
	}
	type history struct {
		hash      uint32
		compacted int64
	}
	seen := map[history]string{}
	for name, c := range members {
		h, err := c.HashKV(ctx, c.Endpoints()[0], revision)
		if err != nil {
			return fmt.Errorf("asking the member on %s for its hash: %w", name, err)
		}
		seen[history{h.Hash, h.CompactRevision}] = name
	}
	if len(seen) != 1 {
		return fmt.Errorf("at revision %d the members' hashes (and compacted revisions) differ: %v", revision, seen)
	}
	return nil
}
