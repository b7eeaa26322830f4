package phases

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
)

// KubeletSeen wants a node Ready and its lease renewed since its kubelet
// started: what the API says otherwise is of the past.
func KubeletSeen(ctx context.Context, v Reader, node string) error {
	k, err := v.Kube(ctx)
	if err != nil {
		return err
	}
	nodes, err := k.Nodes(ctx)
	if err != nil {
		return err
	}
	if !kube.Ready(nodes[node]) {
		return fmt.Errorf("node %s is not Ready", node)
	}
	started, err := kubeletStarted(ctx, v, node)
	if err != nil {
		return err
	}
	renewed, err := k.LeaseRenewed(ctx, node)
	if err != nil {
		return err
	}
	if !renewed.After(started) {
		return fmt.Errorf("node %s has not renewed its lease since its kubelet started", node)
	}
	return nil
}

// kubeletStarted is the start of the kubelet's process by the node's clock,
// the clock that the lease is written with.
func kubeletStarted(ctx context.Context, v Reader, node string) (time.Time, error) {
	out, err := v.On(node).Look(ctx, remote.Command{Script: `date -d "$(systemctl show -p ExecMainStartTimestamp --value kubelet)" +%s`, Waits: true})
	if err != nil {
		return time.Time{}, fmt.Errorf("reading when the kubelet on %s started: %w", node, err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading when the kubelet on %s started: %w", node, err)
	}
	return time.Unix(seconds, 0), nil
}
