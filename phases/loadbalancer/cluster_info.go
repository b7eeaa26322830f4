package loadbalancer

import (
	"context"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// clusterInfo points new nodes to the endpoint. Clusters without the ConfigMap
// are hardened ones: nothing makes it again, and migrate's own joins need none.
func clusterInfo() phases.Step {
	return phases.Step{
		ID:    "loadbalancer/cluster-info",
		Title: "Point cluster-info to the endpoint",
		Why:   "A node that is joined by hand with a token learns the API's address from it.",
		On:    migrate.Once,
		Needs: []migrate.StepID{endpointID, endpointNameID},
		ByHand: "```\nkubectl -n kube-public edit cm cluster-info    # server: https://{{.Endpoint}}\n" +
			"# wait until its jws-kubeconfig-* values have changed: the controller manager signs again\n```\n",
		Check:  checkClusterInfo,
		Apply:  applyClusterInfo,
		Verify: verifyClusterInfo,
		Undo:   undoClusterInfo,
		// The bootstrap signer works on events; a minute is a controller
		// manager that just lost its lease.
		Settle: time.Minute, WaitsFor: "kube-controller-manager",
	}
}

func clusterInfoServer(ctx context.Context, v phases.Reader) (server, content string, data map[string]string, err error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return "", "", nil, err
	}
	cm, err := k.ConfigMap(ctx, "kube-public", "cluster-info")
	if err != nil {
		return "", "", nil, err
	}
	content = cm.Data["kubeconfig"]
	server, err = kube.Server([]byte(content))
	if err != nil {
		return "", "", nil, fmt.Errorf("in cluster-info: %w", err)
	}
	return server, content, cm.Data, nil
}

func checkClusterInfo(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	server, _, _, err := clusterInfoServer(ctx, v)
	if apierrors.IsNotFound(err) {
		return phases.Done("there is no ConfigMap kube-public/cluster-info: nobody learns a wrong address from it"), nil
	}
	if err != nil {
		return migrate.Finding{}, err
	}
	if server == v.EndpointURL() {
		return phases.Done("cluster-info names %s", server), nil
	}
	f := phases.Need(migrate.Before{"server": server}, "cluster-info names %s", server)
	f.Changes = []migrate.Change{phases.ServerChange("ConfigMap kube-public/cluster-info", server, v.EndpointURL())}
	return f, nil
}

func applyClusterInfo(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	return k.EditConfigMap(ctx, "kube-public", "cluster-info", func(data map[string]string) error {
		out, err := kube.SetServer([]byte(data["kubeconfig"]), h.EndpointURL())
		data["kubeconfig"] = string(out)
		return err
	})
}

// undoClusterInfo names the server of before again, and waits for the
// signatures like the way there.
func undoClusterInfo(ctx context.Context, h phases.Writer, before migrate.Before) error {
	server, _, _, err := clusterInfoServer(ctx, h.Reader)
	if apierrors.IsNotFound(err) {
		return nil // somebody has deleted it since
	}
	if err != nil {
		return err
	}
	if server == h.EndpointURL() {
		old, err := recorded(before, "server", "the server in ConfigMap kube-public/cluster-info")
		if err != nil {
			return err
		}
		k, err := h.Kube(ctx)
		if err != nil {
			return err
		}
		err = k.EditConfigMap(ctx, "kube-public", "cluster-info", func(data map[string]string) error {
			out, err := kube.SetServer([]byte(data["kubeconfig"]), old)
			data["kubeconfig"] = string(out)
			return err
		})
		if err != nil {
			return err
		}
	}
	return phases.AwaitOrStop(ctx, h.Reader, time.Minute, func(ctx context.Context) error { return clusterInfoSigned(ctx, h.Reader) })
}

func verifyClusterInfo(ctx context.Context, v phases.Reader) error {
	server, _, _, err := clusterInfoServer(ctx, v)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if server != v.EndpointURL() {
		return fmt.Errorf("cluster-info names %s", server)
	}
	return clusterInfoSigned(ctx, v)
}

// VerifyClusterInfo wants cluster-info to name the endpoint, with a signature of
// every token that signs.
func VerifyClusterInfo(ctx context.Context, v phases.Reader) error { return verifyClusterInfo(ctx, v) }

// clusterInfoSigned wants the signatures over the new text: until every living
// token has one, a join by that token would be refused. A cluster older than a
// day may have no token, and then there is nothing to wait for.
func clusterInfoSigned(ctx context.Context, v phases.Reader) error {
	_, content, data, err := clusterInfoServer(ctx, v)
	if err != nil {
		return err
	}
	k, err := v.Kube(ctx)
	if err != nil {
		return err
	}
	tokens, err := k.SigningTokens(ctx, time.Now())
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if !t.Signs(data["jws-kubeconfig-"+t.ID], content) {
			return fmt.Errorf("cluster-info has no valid signature of token %s yet", t.ID)
		}
	}
	return nil
}
