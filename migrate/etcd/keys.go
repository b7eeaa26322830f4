package etcd

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Get reads a key, linearizably; false means that it is not there.
func (r *Reader) Get(ctx context.Context, key string) (value []byte, there bool, err error) {
	err = r.anyVoter(ctx, func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Get(ctx, key)
		if err != nil {
			return err
		}
		there = len(resp.Kvs) == 1
		if there {
			value = resp.Kvs[0].Value
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("reading %s from etcd: %w", key, err)
	}
	return value, there, nil
}

// PutFor writes a key that etcd deletes by itself after ttl.
func (c *Cluster) PutFor(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	err := c.anyVoter(ctx, func(ctx context.Context, cl *clientv3.Client) error {
		lease, err := cl.Grant(ctx, int64(ttl.Seconds()))
		if err != nil {
			return err
		}
		_, err = cl.Put(ctx, key, string(value), clientv3.WithLease(lease.ID))
		return err
	})
	if err != nil {
		return fmt.Errorf("writing %s to etcd: %w", key, err)
	}
	return nil
}

// Delete deletes a key; one that is not there is success.
func (c *Cluster) Delete(ctx context.Context, key string) error {
	err := c.anyVoter(ctx, func(ctx context.Context, cl *clientv3.Client) error {
		_, err := cl.Delete(ctx, key)
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting %s from etcd: %w", key, err)
	}
	return nil
}
