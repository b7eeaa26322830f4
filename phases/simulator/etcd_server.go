package simulator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"hash/crc32"
	"maps"
	"net"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// etcdAPI answers the clients of the member on one host, whichever process
// that is at the moment.
type etcdAPI struct {
	pb.UnimplementedClusterServer
	pb.UnimplementedMaintenanceServer
	pb.UnimplementedKVServer
	pb.UnimplementedLeaseServer
	world *World
	host  *Host
}

func (w *World) serveEtcd(l *listener, h *Host) {
	api := &etcdAPI{world: w, host: h}
	s := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(h.etcdTLS("", tls.RequireAndVerifyClientCert))),
		grpc.UnaryInterceptor(api.refuse),
	)
	pb.RegisterClusterServer(s, api)
	pb.RegisterMaintenanceServer(s, api)
	pb.RegisterKVServer(s, api)
	pb.RegisterLeaseServer(s, api)
	go s.Serve(l) //nolint:errcheck // ends with Stop
	w.closers = append(w.closers, s.Stop)
}

// servePeer shakes hands as the peer listener does, and has nothing to say.
func (w *World) servePeer(l *listener, h *Host) {
	config := h.etcdTLS("peer-", tls.RequireAndVerifyClientCert)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func(conn net.Conn) {
				defer conn.Close()
				// A client without a certificate sees the server's, and is
				// then cut off.
				_ = tls.Server(conn, config).Handshake()
			}(conn)
		}
	}()
	w.closers = append(w.closers, func() { l.Close() })
}

// etcdTLS uses the files that the running member's flags name, read at each
// handshake as etcd does.
func (h *Host) etcdTLS(kind string, auth tls.ClientAuthType) *tls.Config {
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		h.world.mu.Lock()
		defer h.world.mu.Unlock()
		for _, s := range h.boots {
			pair, err := h.world.memo.keyPair([]byte(h.read(s.flags[kind+"cert-file"])), []byte(h.read(s.flags[kind+"key-file"])))
			if err != nil {
				return nil, err
			}
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM([]byte(h.read(s.flags[kind+"trusted-ca-file"])))
			return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: auth,
				CurvePreferences: []tls.CurveID{tls.X25519},
				NextProtos:       []string{"h2"}, SessionTicketsDisabled: true}, nil
		}
		return nil, errRefused
	}}
}

// refuse stands before every call: the process must be there, the operator
// alive, and a learner knows only what a learner may.
func (a *etcdAPI) refuse(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	a.world.settle()
	a.world.mu.Lock()
	defer a.world.mu.Unlock()
	if err := a.world.Faults.Alive(); err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	s, err := a.server()
	if err != nil {
		return nil, err
	}
	if _, ok := req.(*pb.StatusRequest); ok {
		return handle(ctx, req)
	}
	if m := s.cluster.find(s.member); m == nil || m.learner {
		return nil, rpctypes.ErrGRPCNotSupportedForLearner
	}
	if s.cluster.leader == 0 || !a.world.quorum(s.cluster) {
		return nil, rpctypes.ErrGRPCNoLeader
	}
	return handle(ctx, req)
}

func (a *etcdAPI) server() (*bootedServer, error) {
	for _, s := range a.host.boots {
		return s, nil
	}
	return nil, status.Error(codes.Unavailable, "the member has stopped")
}

func (a *etcdAPI) header(s *bootedServer) *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: s.cluster.id, MemberId: s.member, Revision: s.revision(), RaftTerm: 2}
}

// revision is what the member has applied.
func (s *bootedServer) revision() int64 {
	if time.Now().Before(s.catching) {
		return s.cluster.revision / 2
	}
	return s.cluster.revision
}

// do is one change of the operator's.
func (a *etcdAPI) do(op string, change func(*bootedServer) error) (*bootedServer, error) {
	s, err := a.server()
	if err != nil {
		return nil, err
	}
	err = a.world.do("etcd: "+op, func() error { return change(s) })
	if _, ok := status.FromError(err); !ok {
		err = status.Error(codes.Unavailable, err.Error())
	}
	return s, err
}

func (a *etcdAPI) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	s, err := a.server()
	if err != nil {
		return nil, err
	}
	m := s.cluster.find(s.member)
	out := &pb.StatusResponse{
		Header: a.header(s), Version: etcdVersionNumber, DbSize: 16 << 20, Leader: s.cluster.leader,
		RaftIndex: s.cluster.index, RaftAppliedIndex: s.cluster.index, RaftTerm: 2, IsLearner: m != nil && m.learner,
	}
	if time.Now().Before(s.catching) {
		out.RaftAppliedIndex /= 2
	}
	if s.cluster.leader == 0 || m == nil {
		out.Leader = 0
		out.Errors = []string{"etcdserver: no leader"}
	}
	return out, nil
}

func (a *etcdAPI) HashKV(_ context.Context, r *pb.HashKVRequest) (*pb.HashKVResponse, error) {
	s, err := a.server()
	if err != nil {
		return nil, err
	}
	if r.Revision > s.revision() {
		return nil, rpctypes.ErrGRPCFutureRev
	}
	hash := crc32.ChecksumIEEE(fmt.Appendf(nil, "%x %d", s.cluster.id, r.Revision))
	return &pb.HashKVResponse{Header: a.header(s), Hash: hash, CompactRevision: -1, HashRevision: r.Revision}, nil
}

func (a *etcdAPI) Alarm(context.Context, *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	s, err := a.server()
	if err != nil {
		return nil, err
	}
	out := &pb.AlarmResponse{Header: a.header(s)}
	if raised := s.cluster.alarm; raised != "" {
		out.Alarms = []*pb.AlarmMember{{MemberID: s.member, Alarm: pb.AlarmType(pb.AlarmType_value[raised])}}
	}
	return out, nil
}

func (a *etcdAPI) MoveLeader(_ context.Context, r *pb.MoveLeaderRequest) (*pb.MoveLeaderResponse, error) {
	s, err := a.do("move the leader", func(s *bootedServer) error {
		return a.world.moveLeader(s.cluster, s.member, r.TargetID)
	})
	if err != nil {
		return nil, err
	}
	return &pb.MoveLeaderResponse{Header: a.header(s)}, nil
}

func (a *etcdAPI) MemberList(context.Context, *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	s, err := a.server()
	if err != nil {
		return nil, err
	}
	return &pb.MemberListResponse{Header: a.header(s), Members: list(s.cluster)}, nil
}

func list(c *etcdCluster) []*pb.Member {
	var out []*pb.Member
	for _, m := range c.members {
		out = append(out, &pb.Member{ID: m.id, Name: m.name, PeerURLs: m.peerURLs, ClientURLs: m.clientURLs, IsLearner: m.learner})
	}
	return out
}

func (a *etcdAPI) MemberAdd(_ context.Context, r *pb.MemberAddRequest) (*pb.MemberAddResponse, error) {
	var added *member
	s, err := a.do("add member "+r.PeerURLs[0], func(s *bootedServer) (err error) {
		added, err = a.world.addMember(s.cluster, r.PeerURLs, r.IsLearner)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &pb.MemberAddResponse{Header: a.header(s), Member: &pb.Member{ID: added.id, PeerURLs: added.peerURLs, IsLearner: added.learner}, Members: list(s.cluster)}, nil
}

func (a *etcdAPI) MemberPromote(_ context.Context, r *pb.MemberPromoteRequest) (*pb.MemberPromoteResponse, error) {
	s, err := a.do("promote a member", func(s *bootedServer) error { return a.world.promoteMember(s.cluster, r.ID) })
	if err != nil {
		return nil, err
	}
	return &pb.MemberPromoteResponse{Header: a.header(s), Members: list(s.cluster)}, nil
}

func (a *etcdAPI) MemberUpdate(_ context.Context, r *pb.MemberUpdateRequest) (*pb.MemberUpdateResponse, error) {
	s, err := a.do("update member to "+r.PeerURLs[0], func(s *bootedServer) error { return a.world.updateMember(s.cluster, r.ID, r.PeerURLs) })
	if err != nil {
		return nil, err
	}
	return &pb.MemberUpdateResponse{Header: a.header(s), Members: list(s.cluster)}, nil
}

func (a *etcdAPI) MemberRemove(_ context.Context, r *pb.MemberRemoveRequest) (*pb.MemberRemoveResponse, error) {
	s, err := a.do("remove a member", func(s *bootedServer) error { return a.world.removeMember(s.cluster, r.ID) })
	if err != nil {
		return nil, err
	}
	return &pb.MemberRemoveResponse{Header: a.header(s), Members: list(s.cluster)}, nil
}

// Range, Put and DeleteRange are the least of a store: single keys, and the
// names of several.
func (a *etcdAPI) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	s, err := a.server()
	if err != nil {
		return nil, err
	}
	out := &pb.RangeResponse{Header: a.header(s)}
	if len(r.RangeEnd) > 0 {
		for _, name := range slices.Sorted(maps.Keys(s.cluster.keys)) {
			if name >= string(r.Key) && name < string(r.RangeEnd) {
				out.Kvs = append(out.Kvs, &mvccpb.KeyValue{Key: []byte(name)})
			}
		}
		out.Count = int64(len(out.Kvs))
		return out, nil
	}
	if k, ok := s.cluster.keys[string(r.Key)]; ok {
		out.Kvs, out.Count = []*mvccpb.KeyValue{{Key: r.Key, Value: []byte(k.value), Lease: k.lease}}, 1
	}
	return out, nil
}

func (a *etcdAPI) Put(_ context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	s, err := a.do("put "+string(r.Key), func(s *bootedServer) error {
		k := key{value: string(r.Value), lease: r.Lease}
		if r.Lease != 0 {
			ttl, ok := s.cluster.leases[r.Lease]
			if !ok {
				return rpctypes.ErrGRPCLeaseNotFound
			}
			k.until = time.Now().Add(ttl)
		}
		s.cluster.keys[string(r.Key)] = k
		s.cluster.wrote(true)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &pb.PutResponse{Header: a.header(s)}, nil
}

func (a *etcdAPI) DeleteRange(_ context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	s, err := a.do("delete "+string(r.Key), func(s *bootedServer) error {
		delete(s.cluster.keys, string(r.Key))
		s.cluster.wrote(true)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &pb.DeleteRangeResponse{Header: a.header(s)}, nil
}

// LeaseGrant makes a life-time; it begins when a key gets it.
func (a *etcdAPI) LeaseGrant(_ context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	id := int64(0)
	s, err := a.do("grant a lease", func(s *bootedServer) error {
		id = int64(len(s.cluster.leases) + 1)
		s.cluster.leases[id] = time.Duration(r.TTL) * time.Second
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &pb.LeaseGrantResponse{Header: a.header(s), ID: id, TTL: r.TTL}, nil
}
