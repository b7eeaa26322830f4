package overlap

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"hamigrate/migrate/remote"
	"hamigrate/phases/apiserver"
	"hamigrate/phases/redirect"
)

// redirectName is the nft table, or the chain of iptables, that holds the
// redirect and nothing else.
const redirectName = "migrate_overlap"

// table holds the redirect to the second API server.
func table() redirect.Table { return redirect.Table{Name: redirectName, Title: "the redirect"} }

// temporaryAddress is host:port of the second API server.
func temporaryAddress(f apiserver.Front) (string, error) {
	host, _, err := net.SplitHostPort(f.Address)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(TwinPort)), nil
}

// toTwin sends new connections for an API server to its twin. Those to
// 127.0.0.1 are left alone, which is how the real one is watched meanwhile.
func toTwin(f apiserver.Front) (redirect.Redirect, error) {
	to, err := temporaryAddress(f)
	return redirect.Redirect{Table: table(), From: []string{f.Address, f.Service}, To: to}, err
}

func addRedirect(ctx context.Context, h remote.Host, f apiserver.Front) error {
	r, err := toTwin(f)
	if err == nil {
		err = r.Add(ctx, h)
	}
	if err != nil {
		return fmt.Errorf("redirecting %s to the second API server: %w", f.Address, err)
	}
	return nil
}

// Redirected says whether new connections are sent to the second API server.
func Redirected(ctx context.Context, r remote.Reader) (bool, error) { return table().Loaded(ctx, r) }
