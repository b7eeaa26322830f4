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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// endpointAnnotation on kube-proxy's pod template makes the roll-out happen
// once for an endpoint, however often the step is applied.
const endpointAnnotation = "migrate.hamigrate/control-plane-endpoint"

// annotationPatch sets it as a person does, in a template of a playbook.
const annotationPatch = `{"spec": {"template": {"metadata": {"annotations": {"` + endpointAnnotation + `": "{{.Endpoint}}"} } } } }`

// kubeProxyRollOut bounds the roll-out over all nodes, one after the other.
const kubeProxyRollOut = 10 * time.Minute

// kubeProxy points kube-proxy to the endpoint and rolls it out; it reads its
// kubeconfig only when it starts.
func kubeProxy() phases.Step {
	return phases.Step{
		ID:    "loadbalancer/kube-proxy",
		Title: "Point kube-proxy to the endpoint",
		Why:   "A kube-proxy that lost its API server goes on with old rules, unnoticed for hours.",
		On:    migrate.Once,
		Needs: []migrate.StepID{nginxStreamID, endpointID},
		ByHand: "```\nkubectl -n kube-system edit cm kube-proxy    # server: https://{{.Endpoint}}\n" +
			"kubectl -n kube-system patch ds kube-proxy -p '" + annotationPatch + "'    # a restart by an annotation that migrate knows again\n" +
			"kubectl -n kube-system rollout status ds/kube-proxy\n```\n",
		Check:  checkKubeProxy,
		Apply:  applyKubeProxy,
		Verify: VerifyKubeProxy,
		Undo:   undoKubeProxy,
		Settle: kubeProxyRollOut, WaitsFor: "kube-proxy",
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
	if ds.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		return phases.Block("set its updateStrategy to RollingUpdate", "kube-proxy's DaemonSet has updateStrategy OnDelete, so a change would reach no node"), nil
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

// undoKubeProxy names the server of before again, makes the pod template what
// it was, and waits until every Ready node has the pod of before: the endpoint
// answers meanwhile.
func undoKubeProxy(ctx context.Context, h phases.Hands, before migrate.Before) error {
	server, ds, err := kubeProxyState(ctx, h.View)
	if apierrors.IsNotFound(err) {
		return nil // somebody has replaced it
	}
	if err != nil {
		return err
	}
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	if server == h.EndpointURL() {
		old, err := recorded(before, "server", "the server in ConfigMap kube-system/kube-proxy")
		if err != nil {
			return err
		}
		err = k.EditConfigMap(ctx, "kube-system", "kube-proxy", func(data map[string]string) error {
			out, err := kube.SetServer([]byte(data["kubeconfig.conf"]), old)
			data["kubeconfig.conf"] = string(out)
			return err
		})
		if err != nil {
			return err
		}
	}
	annotation := before["annotation"]
	switch has := ds.Spec.Template.Annotations[endpointAnnotation]; {
	case has == annotation:
	case annotation == "":
		err = k.DropDaemonSetPodsAnnotation(ctx, "kube-system", "kube-proxy", endpointAnnotation)
	default:
		err = k.AnnotateDaemonSetPods(ctx, "kube-system", "kube-proxy", endpointAnnotation, annotation)
	}
	if err != nil {
		return err
	}
	return phases.Await(ctx, h.View, kubeProxyRollOut, func(ctx context.Context) error {
		_, ds, err := kubeProxyState(ctx, h.View)
		if err != nil {
			return err
		}
		return rolledOut(ctx, h.View, ds, annotation)
	})
}

// VerifyKubeProxy wants the endpoint in the ConfigMap, and on every Ready node a
// Ready pod that was started with it. Where there is no kube-proxy its error is
// the API's NotFound.
func VerifyKubeProxy(ctx context.Context, v phases.View) error {
	server, ds, err := kubeProxyState(ctx, v)
	if err != nil {
		return err
	}
	if server != v.EndpointURL() {
		return fmt.Errorf("ConfigMap kube-proxy names %s", server)
	}
	return rolledOut(ctx, v, ds, v.EndpointAddress())
}

// rolledOut wants the pods with this value of the annotation, "" for none, on
// every Ready node. It goes by the nodes that are Ready: one that has been
// down for weeks must not hold up the migration; its kube-proxy starts with
// the new configuration when it comes back.
func rolledOut(ctx context.Context, v phases.View, ds *appsv1.DaemonSet, annotation string) error {
	if ds.Status.ObservedGeneration < ds.Generation {
		return fmt.Errorf("rolling out kube-proxy: the controller has not seen the change yet")
	}
	k, err := v.Kube(ctx)
	if err != nil {
		return err
	}
	nodes, err := k.Nodes(ctx)
	if err != nil {
		return err
	}
	pods, err := k.Pods(ctx, "kube-system", metav1.FormatLabelSelector(ds.Spec.Selector))
	if err != nil {
		return err
	}
	done, all := 0, 0
	for _, p := range pods {
		n, ok := nodes[p.Spec.NodeName]
		if !ok || !kube.Ready(n) {
			continue
		}
		all++
		if p.DeletionTimestamp == nil && p.Annotations[endpointAnnotation] == annotation && kube.PodReady(p) {
			done++
		}
	}
	if done < all || all == 0 {
		return fmt.Errorf("rolling out kube-proxy: %d of %d Ready nodes have the new one", done, all)
	}
	return nil
}
