package overlap

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"hamigrate/migrate/remote"
	"hamigrate/phases/redirect"
)

// redirectName is the nft table, or the chain of iptables, that holds the
// redirect and nothing else.
const redirectName = "migrate_overlap"

// table holds the redirect to the second API server.
func table() redirect.Table { return redirect.Table{Name: redirectName, Title: "the redirect"} }

// front is where clients look for an API server.
type front struct {
	address string // host:port of the API server
	service string // host:port of the kubernetes Service
}

// port is the API server's.
func (f front) port() (int, error) {
	_, port, err := net.SplitHostPort(f.address)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}

// twin is host:port of the second API server.
func (f front) twin() (string, error) {
	host, _, err := net.SplitHostPort(f.address)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(TwinPort)), nil
}

// toTwin sends new connections for an API server to its twin. Those to
// 127.0.0.1 are left alone, which is how the real one is watched meanwhile.
func (f front) toTwin() (redirect.Redirect, error) {
	to, err := f.twin()
	return redirect.Redirect{Table: table(), From: []string{f.address, f.service}, To: to}, err
}

func addRedirect(ctx context.Context, h remote.Host, f front) error {
	r, err := f.toTwin()
	if err == nil {
		err = r.Add(ctx, h)
	}
	if err != nil {
		return fmt.Errorf("redirecting %s to the second API server: %w", f.address, err)
	}
	return nil
}

// Redirected says whether new connections are sent to the second API server.
func Redirected(ctx context.Context, r remote.Reader) (bool, error) { return table().Loaded(ctx, r) }
