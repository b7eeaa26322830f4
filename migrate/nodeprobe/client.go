package nodeprobe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"hamigrate/migrate/remote"
)

const (
	// socketDir is on the node's memory file system: it goes with a reboot,
	// as the agent's samples do.
	socketDir = "/run/migrate-probe"
	socket    = socketDir + "/agent.sock"

	// stopTime bounds the agent's wait for answers and events that are due,
	// and the way of its record.
	stopTime = 30 * time.Second
	// liveTime bounds a look at all agents: whoever looks wants to know of the
	// others, when one does not answer.
	liveTime = 2 * time.Second
)

// caller asks the agent on one node, through SSH and the node's socket.
type caller struct {
	node remote.Reader
	http *http.Client
}

func newCaller(node remote.Reader) *caller {
	return &caller{node: node, http: &http.Client{
		Timeout: stopTime,
		Transport: &http.Transport{
			// Anew each time: a kept connection would be one that a cut of
			// the SSH connection leaves hanging.
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return node.DialContext(ctx, "unix", socket)
			},
		},
	}}
}

// call makes a request and decodes the answer into out, if there is one.
func (c *caller) call(ctx context.Context, method, path string, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, nil)
	if err != nil {
		return fmt.Errorf("asking the probe on %s: %w", c.node.Name(), err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("asking the probe on %s: %w", c.node.Name(), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the probe on %s: %s", c.node.Name(), resp.Status)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("reading what the probe on %s says: %w", c.node.Name(), err)
	}
	return nil
}

// ErrUnreached means that the agent is not reached: that says nothing about
// the API.
var ErrUnreached = errors.New("the probe's pod is not reached")

// dial opens a connection from the pod to the kubernetes Service.
func (c *caller) dial(ctx context.Context) (net.Conn, error) {
	conn, err := c.node.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("reaching the probe on %s: %w: %w", c.node.Name(), ErrUnreached, err)
	}
	through, err := upgrade(ctx, conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("dialing from the pod on %s: %w", c.node.Name(), err)
	}
	return through, nil
}

// upgrade turns the connection to the agent into one to the Service.
func upgrade(ctx context.Context, conn net.Conn) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, "GET /dial HTTP/1.1\r\nHost: agent\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"); err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, errors.Join(ErrUnreached, err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return nil, fmt.Errorf("%s: %s", resp.Status, why)
	}
	return bufferedConn{conn, r}, nil
}

// bufferedConn reads what the reader of the answer took with it first.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }
