package etcd

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

func (m *member) MoveLeader(context.Context, *etcdserverpb.MoveLeaderRequest) (*etcdserverpb.MoveLeaderResponse, error) {
	m.moves.Add(1)
	return &etcdserverpb.MoveLeaderResponse{}, nil
}

// TestAChangeConnects where looks could not, at once, and says that it is one.
// The connection that is kept serves it where that works.
func TestAChangeConnects(t *testing.T) {
	t.Parallel()
	type change struct{}
	var lookDials, changeDials atomic.Int32
	m := newMember(t)
	c := clusterOf(t, m)
	c.endpoints[0].Changing = func(ctx context.Context) context.Context { return context.WithValue(ctx, change{}, true) }
	c.endpoints[0].Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if ctx.Value(change{}) != nil {
			changeDials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		lookDials.Add(1)
		return m.dial(ctx, network, address)
	}
	m.away.Store(true)
	for range 3 {
		if _, err := c.Members(within(t, 50*time.Millisecond)); err == nil {
			t.Fatal("nobody was to answer")
		}
	}
	if err := c.MoveLeader(t.Context(), "a", 9); err != nil || changeDials.Load() == 0 {
		t.Errorf("%d dials for the change: %v", changeDials.Load(), err)
	}
	m.away.Store(false)
	if _, err := c.Status(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	c.clients["a"].ActiveConnection().ResetConnectBackoff()
	for m.moves.Load() < 2 {
		if _, err := c.Members(t.Context()); err != nil {
			continue // the kept connection is made again
		}
		dials := lookDials.Load() + changeDials.Load()
		if err := c.MoveLeader(t.Context(), "a", 9); err != nil || lookDials.Load()+changeDials.Load() != dials {
			t.Errorf("a connection was made though the kept one works: %v", err)
		}
	}
}
