// Package etcd observes and changes an etcd cluster through its client API,
// member by member. Each member is reached by a connection of its own, opened
// from the host the member runs on, so a status is always that member's.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// Endpoint is one member's client listener and a way to it.
type Endpoint struct {
	// Host names the host that the member runs on.
	Host string
	// Address is host:port as seen from that host; TLS verifies its host part.
	Address string
	// Dial opens a connection from that host.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Waits is called when the member is asked for something, and what it returns
	// when there is an answer: one that takes long is told of. It may be nil.
	Waits func(what string) (done func())
	// Changing marks the context in which a connection is dialed for a change. It
	// may be nil.
	Changing func(context.Context) context.Context
}

// telling tells of the member's answers that take long.
func (e Endpoint) telling(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if e.Waits != nil {
		defer e.Waits(fmt.Sprintf("etcd's answer to %s", path.Base(method)))()
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// Member is an entry of the member list.
type Member struct {
	ID         uint64
	Name       string // empty until the member has started once
	PeerURLs   []string
	ClientURLs []string
	Learner    bool
}

// PeerHost returns the host part of the member's first peer URL.
func (m Member) PeerHost() string {
	if len(m.PeerURLs) == 0 {
		return ""
	}
	u, err := url.Parse(m.PeerURLs[0])
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// Status is what one member says of itself.
type Status struct {
	MemberID, ClusterID, Leader uint64
	Learner                     bool
	Version                     string
	DBSize                      int64 // bytes
	RaftIndex, RaftApplied      uint64
	Revision                    int64
	Errors                      []string // alarms and "no leader"
}

// maxAnswer is the most that is taken of one answer, in bytes. A member that was
// taken over can send two gigabytes in one.
const maxAnswer = 32 << 20

// callTimeout bounds one call. etcd answers a membership change within its
// own request timeout of 5 s plus two elections (server/config: ReqTimeout).
const callTimeout = 10 * time.Second

// keptTimeout bounds a question over a connection that may be broken.
const keptTimeout = 2 * time.Second

// hashTimeout bounds the hashing of a whole database: gigabytes take a while.
const hashTimeout = 2 * time.Minute

// Reader looks at the cluster and cannot change it.
type Reader struct {
	tls       *tls.Config
	endpoints []Endpoint

	mu      *sync.Mutex
	clients map[string]*clientv3.Client
}

// Cluster is a Reader that can also change the membership.
type Cluster struct {
	Reader
	// Waiting is called when etcd begins such a change, and what it returns
	// when that has ended: etcd's own time is told apart from the rest. Nil:
	// nobody asks.
	Waiting func() (done func())
}

// New makes a Cluster; it connects on first use. Close it.
func New(cfg *tls.Config, endpoints []Endpoint) *Cluster {
	return &Cluster{Reader: Reader{tls: cfg, endpoints: endpoints, mu: new(sync.Mutex), clients: map[string]*clientv3.Client{}}}
}

// Hosts lists the hosts of the endpoints.
func (r *Reader) Hosts() []string {
	var out []string
	for _, e := range r.endpoints {
		out = append(out, e.Host)
	}
	return out
}

// Close closes all connections.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for host, c := range r.clients {
		errs = append(errs, c.Close())
		delete(r.clients, host)
	}
	return errors.Join(errs...)
}

func (r *Reader) client(host string) (*clientv3.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.clients[host]; c != nil {
		return c, nil
	}
	i := slices.IndexFunc(r.endpoints, func(e Endpoint) bool { return e.Host == host })
	if i < 0 {
		return nil, fmt.Errorf("connecting to etcd on %s: no such endpoint", host)
	}
	c, err := r.connect(r.endpoints[i])
	if err != nil {
		return nil, err
	}
	r.clients[host] = c
	return c, nil
}

// connect makes a client of one member.
func (r *Reader) connect(e Endpoint) (*clientv3.Client, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + e.Address},
		TLS:       r.tls,
		Logger:    zap.NewNop(),
		// The largest answer of ours is a list of keys.
		MaxCallRecvMsgSize: maxAnswer,
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(e.telling), grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return e.Dial(ctx, "tcp", strings.TrimPrefix(address, "https://"))
		})},
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to etcd on %s: %w", e.Host, err)
	}
	return c, nil
}

// Status asks the member on one host. Learners answer, too. It is asked over
// the connection that is kept; where that does not work it is asked once more
// over a new one, since gRPC waits longer and longer before it connects again
// to a member that was away. For a member that refuses connections it waits up
// to 10 s: it may be starting.
func (r *Reader) Status(ctx context.Context, host string) (Status, error) {
	return r.status(ctx, host, statusAnew)
}

// freshStatus asks over a new connection.
type freshStatus func(context.Context, Endpoint, *clientv3.Client) (*etcdserverpb.StatusResponse, error)

func (r *Reader) status(ctx context.Context, host string, fresh freshStatus) (Status, error) {
	c, err := r.client(host)
	if err != nil {
		return Status{}, err
	}
	kept, cancel := context.WithTimeout(ctx, keptTimeout)
	s, err := etcdserverpb.NewMaintenanceClient(c.ActiveConnection()).Status(kept, &etcdserverpb.StatusRequest{})
	cancel()
	if err != nil {
		i := slices.IndexFunc(r.endpoints, func(e Endpoint) bool { return e.Host == host })
		s, err = fresh(ctx, r.endpoints[i], c)
	}
	if err != nil {
		return Status{}, fmt.Errorf("asking etcd on %s for its status: %w", host, err)
	}
	return Status{
		MemberID: s.Header.MemberId, ClusterID: s.Header.ClusterId, Leader: s.Leader,
		Learner: s.IsLearner, Version: s.Version, DBSize: s.DbSize,
		RaftIndex: s.RaftIndex, RaftApplied: s.RaftAppliedIndex, Revision: s.Header.Revision,
		Errors: s.Errors,
	}, nil
}

// statusAnew makes a connection for one question, as etcd's client does, which
// goes on trying for as long as it may.
func statusAnew(ctx context.Context, _ Endpoint, c *clientv3.Client) (*etcdserverpb.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s, err := c.Status(ctx, c.Endpoints()[0])
	return (*etcdserverpb.StatusResponse)(s), err
}

// statusIfThere is statusAnew where a connection can be made at once.
func statusIfThere(ctx context.Context, e Endpoint, c *clientv3.Client) (*etcdserverpb.StatusResponse, error) {
	conn, err := e.Dial(ctx, "tcp", e.Address)
	if err != nil {
		return nil, err
	}
	_ = conn.Close() // it was opened, which is the answer
	return statusAnew(ctx, e, c)
}

// HashKV returns the hash of the member's keys up to a revision, and the
// revision it was compacted at: hashes compare only between equal ones.
func (r *Reader) HashKV(ctx context.Context, host string, revision int64) (hash uint32, compacted int64, err error) {
	c, err := r.client(host)
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, hashTimeout)
	defer cancel()
	h, err := c.HashKV(ctx, c.Endpoints()[0], revision)
	if err != nil {
		return 0, 0, fmt.Errorf("asking etcd on %s for its hash: %w", host, err)
	}
	return h.Hash, h.CompactRevision, nil
}

// Members lists the members as the first endpoint that answers knows them.
// The answer is linearizable, so it needs a quorum; learners refuse it and
// the next endpoint is asked.
func (r *Reader) Members(ctx context.Context) ([]Member, error) {
	var out []Member
	err := r.anyVoter(ctx, func(ctx context.Context, c *clientv3.Client) error {
		list, err := c.MemberList(ctx)
		if err != nil {
			return err
		}
		out = out[:0]
		for _, m := range list.Members {
			out = append(out, Member{m.ID, m.Name, m.PeerURLs, m.ClientURLs, m.IsLearner})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing etcd members: %w", err)
	}
	return out, nil
}

// Alarms lists raised alarms as "NOSPACE on <member id>".
func (r *Reader) Alarms(ctx context.Context) ([]string, error) {
	var out []string
	err := r.anyVoter(ctx, func(ctx context.Context, c *clientv3.Client) error {
		list, err := c.AlarmList(ctx)
		if err != nil {
			return err
		}
		out = out[:0]
		for _, a := range list.Alarms {
			if a.Alarm != etcdserverpb.AlarmType_NONE {
				out = append(out, fmt.Sprintf("%s on %x", a.Alarm, a.MemberID))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing etcd alarms: %w", err)
	}
	return out, nil
}

// anyVoter calls f on each endpoint in turn until one succeeds.
func (r *Reader) anyVoter(ctx context.Context, f func(context.Context, *clientv3.Client) error) error {
	var errs []error
	for _, e := range r.endpoints {
		c, err := r.client(e.Host)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		call, cancel := context.WithTimeout(ctx, callTimeout)
		err = f(call, c)
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", e.Host, err))
		if ctx.Err() != nil {
			break
		}
	}
	if len(errs) == 0 {
		return errors.New("no etcd endpoint is known")
	}
	return errors.Join(errs...)
}

// toChange is a client for one change. Where the connection that is kept does not
// work it has one of its own: gRPC fails at once while it waits before it connects
// again, also where nothing but a look has failed.
func (c *Cluster) toChange(host string) (cl *clientv3.Client, done func(), _ error) {
	kept, err := c.client(host)
	if err != nil || kept.ActiveConnection().GetState() == connectivity.Ready {
		return kept, func() {}, err
	}
	e := c.endpoints[slices.IndexFunc(c.endpoints, func(e Endpoint) bool { return e.Host == host })]
	if mark, dial := e.Changing, e.Dial; mark != nil {
		e.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return dial(mark(ctx), network, address)
		}
	}
	if cl, err = c.connect(e); err != nil {
		return nil, nil, err
	}
	return cl, func() { _ = cl.Close() }, nil // its answer is there
}

// on calls f on one host's member.
func (c *Cluster) on(ctx context.Context, host, doing string, f func(context.Context, *clientv3.Client) error) error {
	cl, done, err := c.toChange(host)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if c.Waiting != nil {
		defer c.Waiting()()
	}
	if err := f(ctx, cl); err != nil {
		return fmt.Errorf("%s through %s: %w", doing, host, err)
	}
	return nil
}

// SetPeerURL changes the stored peer URLs of a voter, mostly one, asking the member on
// host. Never of a learner: before etcd 3.5.31 and 3.6.12 that silently makes
// it a voter (etcd-io/etcd#21694).
func (c *Cluster) SetPeerURL(ctx context.Context, host string, id uint64, peerURLs ...string) error {
	return c.on(ctx, host, "updating the peer URL", func(ctx context.Context, cl *clientv3.Client) error {
		_, err := cl.MemberUpdate(ctx, id, peerURLs)
		return err
	})
}

// AddLearner adds a learner, asking the member on host.
func (c *Cluster) AddLearner(ctx context.Context, host, peerURL string) error {
	return c.on(ctx, host, "adding a learner", func(ctx context.Context, cl *clientv3.Client) error {
		_, err := cl.MemberAddAsLearner(ctx, []string{peerURL})
		return err
	})
}

// Promote makes a learner a voter, asking the voter on host: a learner can't
// promote itself (kubernetes/kubeadm#3287).
func (c *Cluster) Promote(ctx context.Context, host string, id uint64) error {
	return c.on(ctx, host, "promoting the learner", func(ctx context.Context, cl *clientv3.Client) error {
		_, err := cl.MemberPromote(ctx, id)
		return err
	})
}

// MoveLeader makes member id the leader; host must run the present leader.
func (c *Cluster) MoveLeader(ctx context.Context, host string, id uint64) error {
	return c.on(ctx, host, "moving the leader", func(ctx context.Context, cl *clientv3.Client) error {
		_, err := cl.MoveLeader(ctx, id)
		return err
	})
}

// Remove removes a member, asking the member on host.
func (c *Cluster) Remove(ctx context.Context, host string, id uint64) error {
	return c.on(ctx, host, "removing the member", func(ctx context.Context, cl *clientv3.Client) error {
		_, err := cl.MemberRemove(ctx, id)
		return err
	})
}
