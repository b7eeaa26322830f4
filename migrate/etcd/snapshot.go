package etcd

import (
	"context"
	"fmt"
	"io"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Snapshot streams the database of the member on one host, as it was at one
// revision, with its SHA-256 behind it. A member serves it by itself, also
// where the quorum is lost. The caller closes it.
func (r *Reader) Snapshot(ctx context.Context, host string) (io.ReadCloser, error) {
	c, err := r.client(host)
	if err != nil {
		return nil, err
	}
	s, err := c.SnapshotWithVersion(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking etcd on %s for a snapshot: %w", host, err)
	}
	return s.Snapshot, nil
}

// CountKeys counts the keys of the member at a revision, by what it has
// itself. The empty key is none.
func (r *Reader) CountKeys(ctx context.Context, host string, revision int64) (int64, error) {
	c, err := r.client(host)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, hashTimeout)
	defer cancel()
	resp, err := c.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly(), clientv3.WithSerializable(), clientv3.WithRev(revision))
	if err != nil {
		return 0, fmt.Errorf("counting the keys of etcd on %s: %w", host, err)
	}
	return resp.Count, nil
}

// Keys lists the keys that begin with a prefix, linearizably.
func (r *Reader) Keys(ctx context.Context, prefix string) (keys []string, err error) {
	err = r.anyVoter(ctx, func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		keys = keys[:0]
		for _, kv := range resp.Kvs {
			keys = append(keys, string(kv.Key))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing %s in etcd: %w", prefix, err)
	}
	return keys, nil
}
