package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/podtrouble"
	"hamigrate/phases"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
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
		Needs: []migrate.StepID{endpointID, endpointNameID},
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

// proxySetup is how kube-proxy is set up: by the ConfigMap that kubeadm makes,
// and run by its DaemonSet. Either may be missing where another program does
// its work, or where it is set up in another way.
type proxySetup struct {
	there  bool              // the ConfigMap, with a kubeconfig in it
	server string            // in that kubeconfig
	ds     *appsv1.DaemonSet // nil: there is none
}

func readProxySetup(ctx context.Context, v phases.Reader) (proxySetup, error) {
	var p proxySetup
	k, err := v.Kube(ctx)
	if err != nil {
		return p, err
	}
	if p.ds, err = k.DaemonSet(ctx, "kube-system", "kube-proxy"); apierrors.IsNotFound(err) {
		p.ds = nil
	} else if err != nil {
		return p, err
	}
	cm, err := k.ConfigMap(ctx, "kube-system", "kube-proxy")
	if apierrors.IsNotFound(err) || err == nil && cm.Data["kubeconfig.conf"] == "" {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	if p.server, err = kube.Server([]byte(cm.Data["kubeconfig.conf"])); err != nil {
		return p, fmt.Errorf("in ConfigMap kube-proxy: %w", err)
	}
	p.there = true
	return p, nil
}

// annotation is the one of the pod template, "" where nobody runs it.
func (p proxySetup) annotation() string {
	if p.ds == nil {
		return ""
	}
	return p.ds.Spec.Template.Annotations[endpointAnnotation]
}

// nobody says why no node runs kube-proxy; "" where one does. A DaemonSet that
// wants no pod is Calico's and Cilium's way to switch it off so that an upgrade
// does not bring it back. Its controller must have seen it as it is now.
func (p proxySetup) nobody() string {
	switch {
	case p.ds == nil:
		return "there is no DaemonSet kube-proxy"
	case p.ds.Status.ObservedGeneration >= p.ds.Generation && p.ds.Status.DesiredNumberScheduled == 0:
		return "its DaemonSet wants no pod"
	}
	return ""
}

func checkKubeProxy(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	p, err := readProxySetup(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	nobody := p.nobody()
	switch {
	case !p.there && p.ds == nil:
		return phases.Done("this cluster has no kube-proxy"), nil
	case !p.there:
		return phases.Done("%v: it is left as it is", ErrOtherKubeProxy), nil
	case p.server == v.EndpointURL() && nobody != "":
		return phases.Done("ConfigMap kube-proxy names %s, and no node runs it: %s", p.server, nobody), nil
	case p.server == v.EndpointURL() && p.annotation() == v.EndpointAddress():
		return phases.Done("kube-proxy uses %s", p.server), nil
	case nobody == "" && p.ds.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType:
		return phases.Block("`kubectl -n kube-system patch ds kube-proxy -p '{\"spec\":{\"updateStrategy\":{\"type\":\"RollingUpdate\"}}}'`",
			"kube-proxy's DaemonSet has updateStrategy OnDelete, so a change would reach no node"), nil
	}
	f := phases.Need(migrate.Before{"server": p.server, "annotation": p.annotation()}, "kube-proxy uses %s", p.server)
	if nobody != "" {
		f.Reason = fmt.Sprintf("ConfigMap kube-proxy names %s, and no node runs it: %s", p.server, nobody)
	}
	f.Changes = []migrate.Change{phases.ServerChange("ConfigMap kube-system/kube-proxy, kubeconfig.conf", p.server, v.EndpointURL())}
	return f, nil
}

func applyKubeProxy(ctx context.Context, h phases.Writer, _ migrate.Before) error {
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
	err = k.AnnotateDaemonSetPods(ctx, "kube-system", "kube-proxy", endpointAnnotation, h.EndpointAddress())
	if apierrors.IsNotFound(err) {
		return nil // there is nobody to roll out
	}
	return err
}

// undoKubeProxy names the server of before again, makes the pod template what
// it was, and waits until every Ready node has the pod of before: the endpoint
// answers meanwhile.
func undoKubeProxy(ctx context.Context, h phases.Writer, before migrate.Before) error {
	p, err := readProxySetup(ctx, h.Reader)
	if err != nil {
		return err
	}
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	if p.there && p.server == h.EndpointURL() {
		// Its pods keep the /etc/hosts that they were started with.
		if followedBefore(h.Reader, before["server"]) {
			if err := nameBack(ctx, h, before); err != nil {
				return err
			}
		}
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
	if p.ds == nil {
		return nil // somebody has replaced it
	}
	annotation := before["annotation"]
	switch has := p.annotation(); {
	case has == annotation:
	case annotation == "":
		err = k.DropDaemonSetPodsAnnotation(ctx, "kube-system", "kube-proxy", endpointAnnotation)
	default:
		err = k.AnnotateDaemonSetPods(ctx, "kube-system", "kube-proxy", endpointAnnotation, annotation)
	}
	if err != nil {
		return err
	}
	return phases.AwaitOrStop(ctx, h.Reader, kubeProxyRollOut, func(ctx context.Context) error {
		p, err := readProxySetup(ctx, h.Reader)
		if err != nil {
			return err
		}
		return rolledOut(ctx, h.Reader, p.ds, annotation)
	})
}

// ErrOtherKubeProxy is said of a kube-proxy whose server is not in the ConfigMap
// that kubeadm makes: this tool leaves it as it is, and does not see what it uses.
var ErrOtherKubeProxy = errors.New("kube-proxy is not set up by a kubeconfig in ConfigMap kube-system/kube-proxy")

// VerifyKubeProxy wants the endpoint in the ConfigMap, and on every Ready node
// that is to have one a Ready pod that was started with it. Where there is no
// kube-proxy its error is the API's NotFound, and where there is one that is set
// up in another way ErrOtherKubeProxy.
func VerifyKubeProxy(ctx context.Context, v phases.Reader) error {
	p, err := readProxySetup(ctx, v)
	switch {
	case err != nil:
		return err
	case !p.there && p.ds != nil:
		return ErrOtherKubeProxy
	case !p.there:
		return apierrors.NewNotFound(corev1.Resource("configmaps"), "kube-proxy")
	case p.server != v.EndpointURL():
		return fmt.Errorf("ConfigMap kube-proxy names %s", p.server)
	}
	return rolledOut(ctx, v, p.ds, v.EndpointAddress())
}

// rolledOut wants the pods with this value of the annotation, "" for none, on
// every Ready node that the DaemonSet wants one on. It goes by the nodes that
// are Ready: one that has been down for weeks must not hold up the migration;
// its kube-proxy starts with the new configuration when it comes back.
func rolledOut(ctx context.Context, v phases.Reader, ds *appsv1.DaemonSet, annotation string) error {
	if ds == nil {
		return nil
	}
	if ds.Status.ObservedGeneration < ds.Generation {
		return fmt.Errorf("rolling out kube-proxy: the controller has not seen the change yet")
	}
	wanted := int(ds.Status.DesiredNumberScheduled)
	if wanted == 0 {
		return nil
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
	return proxiesNew(ds, nodes, pods, annotation, v.PodTrouble)
}

// proxiesNew is rolledOut by what was read; trouble says why a pod will not get
// ready.
func proxiesNew(ds *appsv1.DaemonSet, nodes map[string]corev1.Node, pods []corev1.Pod, annotation string, trouble func(corev1.Pod) error) error {
	isNew := map[string]bool{} // by node, of those with a pod
	var old []string
	for _, p := range pods {
		name := podtrouble.NodeOf(p)
		n, known := nodes[name]
		if !known {
			continue
		}
		fresh := p.DeletionTimestamp == nil && p.Annotations[endpointAnnotation] == annotation
		if fresh && kube.Ready(n) {
			if err := trouble(p); err != nil {
				return fmt.Errorf("rolling out kube-proxy: %w", err)
			}
		}
		isNew[name] = isNew[name] || fresh && kube.PodReady(p)
	}
	done, all := 0, 0
	for name, is := range isNew {
		switch {
		case !kube.Ready(nodes[name]):
			continue
		case is:
			done++
		default:
			old = append(old, name)
		}
		all++
	}
	slices.Sort(old)
	wanted := int(ds.Status.DesiredNumberScheduled)
	switch {
	case len(old) > 0 && ds.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType:
		return migrate.Hopeless(fmt.Errorf("rolling out kube-proxy: its DaemonSet has updateStrategy OnDelete, so %s keep the old one until somebody deletes the pod there", strings.Join(old, ", ")))
	case len(old) > 0:
		return fmt.Errorf("rolling out kube-proxy: %d of %d Ready nodes have the new one, not yet %s", done, all, strings.Join(old, ", "))
	case len(isNew) < wanted: // between the end of the old pod and the new one
		return fmt.Errorf("rolling out kube-proxy: %d of %d nodes have one", len(isNew), wanted)
	}
	return nil
}
