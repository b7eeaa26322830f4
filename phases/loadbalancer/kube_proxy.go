package loadbalancer

import (
	"context"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// endpointAnnotation on kube-proxy's pod template makes the roll-out happen
// once for an endpoint, however often the step is applied.
const endpointAnnotation = "migrate.hamigrate/control-plane-endpoint"

// kubeProxy points kube-proxy to the endpoint and rolls it out; it reads its
// kubeconfig only when it starts.
func kubeProxy() phases.Step {
	return phases.Step{
		ID:    "loadbalancer/kube-proxy",
		Title: "Point kube-proxy to the endpoint",
		Why:   "A kube-proxy that lost its API server goes on with old rules, unnoticed for hours.",
		On:    migrate.Once,
		Needs: []migrate.StepID{nginxStreamID},
		ByHand: "```\nkubectl -n kube-system edit cm kube-proxy    # server: https://{{.Endpoint}}\n" +
			"kubectl -n kube-system rollout restart ds/kube-proxy\nkubectl -n kube-system rollout status ds/kube-proxy\n```\n",
		Check:  checkKubeProxy,
		Apply:  applyKubeProxy,
		Verify: verifyKubeProxy,
		OneWay: phases.NotYet,
		Settle: 10 * time.Minute,
	}
}

func kubeProxyState(ctx context.Context, v phases.View) (server string, ds *appsv1.DaemonSet, err error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return "", nil, err
	}
	cm, err := k.ConfigMap(ctx, "kube-system", "kube-proxy")
	if err != nil {
		return "", nil, err
	}
	server, err = kube.Server([]byte(cm.Data["kubeconfig.conf"]))
	if err != nil {
		return "", nil, fmt.Errorf("in ConfigMap kube-proxy: %w", err)
	}
	ds, err = k.DaemonSet(ctx, "kube-system", "kube-proxy")
	return server, ds, err
}

func checkKubeProxy(ctx context.Context, v phases.View) (migrate.Finding, error) {
	server, ds, err := kubeProxyState(ctx, v)
	if apierrors.IsNotFound(err) {
		return phases.Done("this cluster has no kube-proxy"), nil
	}
	if err != nil {
		return migrate.Finding{}, err
	}
	if server == v.EndpointURL() && ds.Spec.Template.Annotations[endpointAnnotation] == v.EndpointAddress() {
		return phases.Done("kube-proxy uses %s", server), nil
	}
	f := phases.Need(migrate.Before{"server": server, "annotation": ds.Spec.Template.Annotations[endpointAnnotation]},
		"kube-proxy uses %s", server)
	f.Changes = []migrate.Change{phases.ServerChange("ConfigMap kube-system/kube-proxy, kubeconfig.conf", server, v.EndpointURL())}
	return f, nil
}

func applyKubeProxy(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	err = k.EditConfigMap(ctx, "kube-system", "kube-proxy", func(data map[string]string) error {
		out, err := kube.SetServer([]byte(data["kubeconfig.conf"]), h.EndpointURL())
		data["kubeconfig.conf"] = string(out)
		return err
	})
	if err != nil {
		return err
	}
	return k.AnnotateDaemonSetPods(ctx, "kube-system", "kube-proxy", endpointAnnotation, h.EndpointAddress())
}

func verifyKubeProxy(ctx context.Context, v phases.View) error {
	server, ds, err := kubeProxyState(ctx, v)
	if err != nil {
		return err
	}
	if server != v.EndpointURL() {
		return fmt.Errorf("ConfigMap kube-proxy names %s", server)
	}
	s := ds.Status
	if s.ObservedGeneration < ds.Generation || s.UpdatedNumberScheduled < s.DesiredNumberScheduled || s.NumberAvailable < s.DesiredNumberScheduled {
		return fmt.Errorf("rolling out kube-proxy: %d of %d nodes have the new one", min(s.UpdatedNumberScheduled, s.NumberAvailable), s.DesiredNumberScheduled)
	}
	return nil
}
