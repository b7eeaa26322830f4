package etcd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// member is an etcd server that knows what a Look asks for.
type member struct {
	etcdserverpb.UnimplementedMaintenanceServer
	etcdserverpb.UnimplementedClusterServer
	address string
	leaf    *x509.Certificate
	roots   *x509.CertPool // leaf
	stop    func()
	dials   atomic.Int32
	moves   atomic.Int32 // of the leader
	away    atomic.Bool  // it cannot be reached
	silent  atomic.Bool  // it takes connections and answers none
	alarm   atomic.Int32 // etcdserverpb.AlarmType
}

func (m *member) Status(ctx context.Context, _ *etcdserverpb.StatusRequest) (*etcdserverpb.StatusResponse, error) {
	if m.silent.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &etcdserverpb.StatusResponse{Header: &etcdserverpb.ResponseHeader{MemberId: 7, ClusterId: 9}, Leader: 7, Version: "3.6.8"}, nil
}

func (m *member) Alarm(context.Context, *etcdserverpb.AlarmRequest) (*etcdserverpb.AlarmResponse, error) {
	return &etcdserverpb.AlarmResponse{Alarms: []*etcdserverpb.AlarmMember{{MemberID: 7, Alarm: etcdserverpb.AlarmType(m.alarm.Load())}}}, nil
}

func (m *member) MemberList(context.Context, *etcdserverpb.MemberListRequest) (*etcdserverpb.MemberListResponse, error) {
	return &etcdserverpb.MemberListResponse{Members: []*etcdserverpb.Member{{ID: 7, Name: "e1"}}}, nil
}

func newMember(t *testing.T) *member {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &member{address: listener.Addr().String(), leaf: leaf, roots: x509.NewCertPool()}
	m.roots.AddCert(leaf)
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})))
	etcdserverpb.RegisterMaintenanceServer(server, m)
	etcdserverpb.RegisterClusterServer(server, m)
	go server.Serve(listener) //nolint:errcheck // Stop ends it
	m.stop = server.Stop
	t.Cleanup(server.Stop)
	return m
}

// dial is Endpoint.Dial.
func (m *member) dial(ctx context.Context, network, address string) (net.Conn, error) {
	m.dials.Add(1)
	if m.away.Load() {
		return nil, errors.New("connection refused")
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

func clusterOf(t *testing.T, members ...*member) *Cluster {
	t.Helper()
	roots, endpoints := members[0].roots, []Endpoint{}
	for i, m := range members {
		endpoints = append(endpoints, Endpoint{Host: string(rune('a' + i)), Address: m.address, Dial: m.dial})
	}
	c := New(&tls.Config{RootCAs: roots}, endpoints)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestStatusOverKeptConnection: the check of the invariants asks every member a hundred times a
// run, and a handshake each time would be most of its work.
func TestStatusOverKeptConnection(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	c := clusterOf(t, m)
	var first int32
	for i := range 5 {
		if s, err := c.Status(t.Context(), "a"); err != nil || s.MemberID != 7 || s.ClusterID != 9 || s.Leader != 7 || s.Version != "3.6.8" {
			t.Fatalf("%+v, %v", s, err)
		}
		if i == 0 {
			first = m.dials.Load()
		}
	}
	if n := m.dials.Load(); n != first {
		t.Errorf("%d dials for the first question, %d for five", first, n)
	}
}

// TestStatusAfterAbsence: a member that was away answers as soon as it is
// back, however long the kept connection waits before its next attempt.
func TestStatusAfterAbsence(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	c := clusterOf(t, m)
	m.away.Store(true)
	for range 3 {
		_, err := c.Status(within(t, 50*time.Millisecond), "a")
		if err == nil || !strings.Contains(err.Error(), "etcd on a") {
			t.Fatalf("away: %v", err)
		}
	}
	m.away.Store(false)
	began := time.Now()
	if _, err := c.Status(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 500*time.Millisecond {
		t.Errorf("it took %s", d)
	}
}

// TestGlanceAtNobody: a member that stopped a moment after it was removed is
// told at once, though Look would wait for it.
func TestGlanceAtNobody(t *testing.T) {
	t.Parallel()
	m, gone := newMember(t), newMember(t)
	m.roots.AddCert(gone.leaf)
	c := clusterOf(t, m, gone)
	if l, err := c.Glance(t.Context()); err != nil || l.Answers[1].Err != nil {
		t.Fatalf("%+v, %v", l, err)
	}
	gone.stop()
	began := time.Now()
	l, err := c.Glance(t.Context())
	if err != nil || l.Answers[0].Err != nil || l.Answers[1].Err == nil || !strings.Contains(l.Answers[1].Err.Error(), "connection refused") {
		t.Errorf("%+v, %v", l, err)
	}
	if d := time.Since(began); d > 500*time.Millisecond {
		t.Errorf("it took %s", d)
	}
}

// TestGlanceAtSilence: a removed member may go on listening for seconds and
// answer nothing. One that is in the list is waited for, though.
func TestGlanceAtSilence(t *testing.T) {
	t.Parallel()
	m, removed := newMember(t), newMember(t)
	m.roots.AddCert(removed.leaf)
	removed.silent.Store(true)
	c := clusterOf(t, m, removed)
	began := time.Now()
	l, err := c.Glance(t.Context())
	if err != nil || l.Answers[0].Err != nil || !errors.Is(l.Answers[1].Err, errNoMember) {
		t.Errorf("%+v, %v", l, err)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("it took %s", d)
	}
	m.silent.Store(true)
	ctx := within(t, 500*time.Millisecond)
	if l, err = c.Glance(ctx); err != nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) || l.Answers[0].Err == nil {
		t.Errorf("a silent member of the list: %+v, %v", l, err)
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	m, gone := newMember(t), newMember(t)
	gone.away.Store(true)
	c := clusterOf(t, m, gone)
	looked := func() context.Context { return within(t, 500*time.Millisecond) }
	for alarm, want := range map[etcdserverpb.AlarmType][]string{
		etcdserverpb.AlarmType_NONE:    nil,
		etcdserverpb.AlarmType_NOSPACE: {"NOSPACE on 7"},
	} {
		m.alarm.Store(int32(alarm))
		l, err := c.Look(looked())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Member{{ID: 7, Name: "e1"}}, l.Members); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(want, l.Alarms); diff != "" {
			t.Error(diff)
		}
		if len(l.Answers) != 2 || l.Answers[0].Host != "a" || l.Answers[0].Err != nil || l.Answers[0].Status.MemberID != 7 ||
			l.Answers[1].Host != "b" || l.Answers[1].Err == nil {
			t.Errorf("answers: %+v", l.Answers)
		}
	}
	if _, err := clusterOf(t, gone).Look(looked()); err == nil {
		t.Error("nobody answers, and there was no error")
	}
	m.silent.Store(true)
	if l, err := c.Look(looked()); err != nil || l.Answers[0].Err == nil {
		t.Errorf("a silent member: %v, %+v", err, l.Answers)
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
