// Package kube observes and changes a Kubernetes cluster: its objects through
// client-go, and the files that kubeadm wrote on its nodes as text that keeps
// every byte which is not meant to change.
package kube

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// Reader looks at the cluster's objects and cannot change them.
type Reader struct{ api kubernetes.Interface }

// Client is a Reader that can also change them.
type Client struct{ Reader }

// NewClient wraps a clientset, a real one or client-go's fake.
func NewClient(api kubernetes.Interface) Client { return Client{Reader{api}} }

// ConfigMap returns a ConfigMap; not found is IsNotFound (apimachinery).
func (r Reader) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	cm, err := r.api.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, name, err)
	}
	return cm, nil
}

// ClusterConfiguration returns kubeadm's, from its ConfigMap.
func (r Reader) ClusterConfiguration(ctx context.Context) (ClusterConfiguration, error) {
	cm, err := r.ConfigMap(ctx, "kube-system", "kubeadm-config")
	if err != nil {
		return ClusterConfiguration{}, err
	}
	return ParseClusterConfiguration(cm.Data["ClusterConfiguration"])
}

// Identity returns the UID of namespace kube-system, the customary identity
// of a cluster.
func (r Reader) Identity(ctx context.Context) (string, error) {
	ns, err := r.api.CoreV1().Namespaces().Get(ctx, "kube-system", metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading namespace kube-system: %w", err)
	}
	return string(ns.UID), nil
}

// Version returns the API server's version, "v1.36.3".
func (r Reader) Version() (string, error) {
	v, err := r.api.Discovery().ServerVersion()
	if err != nil {
		return "", fmt.Errorf("reading the API server's version: %w", err)
	}
	return v.GitVersion, nil
}

// Nodes lists the nodes by name.
func (r Reader) Nodes(ctx context.Context) (map[string]corev1.Node, error) {
	out := map[string]corev1.Node{}
	err := each(ctx, "nodes", metav1.ListOptions{}, r.api.CoreV1().Nodes().List, func(n *corev1.Node) { out[n.Name] = *n })
	return out, err
}

// LeaseRenewed returns when a node's kubelet last renewed its lease, by the
// node's own clock.
func (r Reader) LeaseRenewed(ctx context.Context, node string) (time.Time, error) {
	lease, err := r.api.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the lease of node %s: %w", node, err)
	}
	if lease.Spec.RenewTime == nil {
		return time.Time{}, fmt.Errorf("reading the lease of node %s: it was never renewed", node)
	}
	return lease.Spec.RenewTime.Time, nil
}

// Pods lists pods by label selector.
func (r Reader) Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	var out []corev1.Pod
	err := each(ctx, fmt.Sprintf("pods %s in %s", selector, namespace), metav1.ListOptions{LabelSelector: selector},
		r.api.CoreV1().Pods(namespace).List, func(p *corev1.Pod) { out = append(out, *p) })
	return out, err
}

// DaemonSet and Deployment return one; not found is IsNotFound.
func (r Reader) DaemonSet(ctx context.Context, namespace, name string) (*appsv1.DaemonSet, error) {
	ds, err := r.api.AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading DaemonSet %s/%s: %w", namespace, name, err)
	}
	return ds, nil
}

// Deployment returns a Deployment; not found is IsNotFound.
func (r Reader) Deployment(ctx context.Context, namespace, name string) (*appsv1.Deployment, error) {
	d, err := r.api.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading Deployment %s/%s: %w", namespace, name, err)
	}
	return d, nil
}

// BootstrapToken is a token that new nodes may join with.
type BootstrapToken struct{ ID, Secret string }

// SigningTokens lists the bootstrap tokens that sign cluster-info and have
// not expired at now. An old cluster may have none.
func (r Reader) SigningTokens(ctx context.Context, now time.Time) ([]BootstrapToken, error) {
	list, err := r.api.CoreV1().Secrets("kube-system").List(ctx,
		metav1.ListOptions{FieldSelector: "type=bootstrap.kubernetes.io/token"})
	if err != nil {
		return nil, fmt.Errorf("listing bootstrap tokens: %w", err)
	}
	var out []BootstrapToken
	for _, s := range list.Items {
		if s.Type != corev1.SecretTypeBootstrapToken || string(s.Data["usage-bootstrap-signing"]) != "true" {
			continue
		}
		if exp, err := time.Parse(time.RFC3339, string(s.Data["expiration"])); err == nil && !exp.After(now) {
			continue
		}
		out = append(out, BootstrapToken{string(s.Data["token-id"]), string(s.Data["token-secret"])})
	}
	return out, nil
}

// Signs says whether jws, the detached signature in cluster-info under
// jws-kubeconfig-<id>, is this token's over content. Source of the format:
// k8s.io/cluster-bootstrap/token/jws (HS256, payload left out).
func (t BootstrapToken) Signs(jws, content string) bool {
	head, sig, ok := strings.Cut(jws, "..")
	if !ok {
		return false
	}
	mac := hmac.New(sha256.New, []byte(t.Secret))
	mac.Write([]byte(head + "." + base64.RawURLEncoding.EncodeToString([]byte(content))))
	got, err := base64.RawURLEncoding.DecodeString(sig)
	return err == nil && hmac.Equal(got, mac.Sum(nil))
}

// EditConfigMap changes a ConfigMap's data, again from a fresh reading when
// somebody else was faster. edit gets the data and may change it in place.
func (c Client) EditConfigMap(ctx context.Context, namespace, name string, edit func(map[string]string) error) error {
	err := onConflict(func() error {
		cm, err := c.api.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if err := edit(cm.Data); err != nil {
			return err
		}
		_, err = c.api.CoreV1().ConfigMaps(namespace).Update(ctx, cm, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("changing ConfigMap %s/%s: %w", namespace, name, err)
	}
	return nil
}

// EditClusterConfiguration changes kubeadm's ClusterConfiguration.
func (c Client) EditClusterConfiguration(ctx context.Context, edit func(ClusterConfiguration)) error {
	return c.EditConfigMap(ctx, "kube-system", "kubeadm-config", func(data map[string]string) error {
		cc, err := ParseClusterConfiguration(data["ClusterConfiguration"])
		if err != nil {
			return err
		}
		edit(cc)
		data["ClusterConfiguration"] = cc.String()
		return nil
	})
}

// AnnotateDaemonSetPods sets an annotation on the pod template, which rolls
// the DaemonSet out; the same value twice rolls it out once.
func (c Client) AnnotateDaemonSetPods(ctx context.Context, namespace, name, key, value string) error {
	_, err := c.api.AppsV1().DaemonSets(namespace).Patch(ctx, name, types.StrategicMergePatchType,
		annotationPatch(key, value), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("rolling out DaemonSet %s/%s: %w", namespace, name, err)
	}
	return nil
}

// AnnotateDeploymentPods does the same for a Deployment.
func (c Client) AnnotateDeploymentPods(ctx context.Context, namespace, name, key, value string) error {
	_, err := c.api.AppsV1().Deployments(namespace).Patch(ctx, name, types.StrategicMergePatchType,
		annotationPatch(key, value), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("rolling out Deployment %s/%s: %w", namespace, name, err)
	}
	return nil
}

func annotationPatch(key, value string) []byte {
	return fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{%q:%q}}}}}`, key, value)
}

// CreateBootstrapToken makes a token for joining that ends by itself. The
// form is kubeadm's (app/util/bootstraptoken), the secret never leaves
// memory but for the API.
func (c Client) CreateBootstrapToken(ctx context.Context, t BootstrapToken, expires time.Time) error {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "bootstrap-token-" + t.ID},
		Type:       corev1.SecretTypeBootstrapToken,
		StringData: map[string]string{
			"token-id":                       t.ID,
			"token-secret":                   t.Secret,
			"expiration":                     expires.UTC().Format(time.RFC3339),
			"usage-bootstrap-authentication": "true",
			"auth-extra-groups":              "system:bootstrappers:kubeadm:default-node-token",
			"description":                    tokenDescription,
		},
	}
	if _, err := c.api.CoreV1().Secrets("kube-system").Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating a bootstrap token: %w", err)
	}
	return nil
}

// tokenDescription tells our tokens from others'.
const tokenDescription = "Made by migrate to join a control-plane node; deleted afterwards."

// DeleteOwnTokens deletes the bootstrap tokens that CreateBootstrapToken
// made, also those of an earlier run that was killed.
func (c Client) DeleteOwnTokens(ctx context.Context) error {
	list, err := c.api.CoreV1().Secrets("kube-system").List(ctx, metav1.ListOptions{FieldSelector: "type=bootstrap.kubernetes.io/token"})
	if err != nil {
		return fmt.Errorf("listing bootstrap tokens: %w", err)
	}
	for _, s := range list.Items {
		if s.Type != corev1.SecretTypeBootstrapToken || string(s.Data["description"]) != tokenDescription {
			continue
		}
		if err := c.DeleteSecret(ctx, "kube-system", s.Name); err != nil {
			return err
		}
	}
	return nil
}

// DeleteUploadedCerts deletes what `kubeadm init phase upload-certs` made:
// Secret kubeadm-certs and the token of two hours that owns it
// (kubeadm: phases/copycerts, createShortLivedBootstrapToken).
func (c Client) DeleteUploadedCerts(ctx context.Context) error {
	const name = "kubeadm-certs"
	s, err := c.api.CoreV1().Secrets("kube-system").Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading Secret kube-system/%s: %w", name, err)
	}
	for _, owner := range s.OwnerReferences {
		if owner.Kind != "Secret" || !strings.HasPrefix(owner.Name, "bootstrap-token-") {
			continue
		}
		if err := c.DeleteSecret(ctx, "kube-system", owner.Name); err != nil {
			return err
		}
	}
	return c.DeleteSecret(ctx, "kube-system", name)
}

// DeleteConfigMap deletes a ConfigMap; one that is not there is success.
func (c Client) DeleteConfigMap(ctx context.Context, namespace, name string) error {
	err := c.api.CoreV1().ConfigMaps(namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting ConfigMap %s/%s: %w", namespace, name, err)
	}
	return nil
}

// DeleteSecret deletes a Secret; one that is not there is success.
func (c Client) DeleteSecret(ctx context.Context, namespace, name string) error {
	err := c.api.CoreV1().Secrets(namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting Secret %s/%s: %w", namespace, name, err)
	}
	return nil
}

// DeleteNode deletes a Node object; one that is not there is success.
func (c Client) DeleteNode(ctx context.Context, name string) error {
	err := c.api.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting node %s: %w", name, err)
	}
	return nil
}

// Ready says whether a node's Ready condition is true.
func Ready(n corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// InternalIP returns a node's first InternalIP that is an IPv4 address, else its
// first one, or "". A node in both families may tell the other one first, and
// all else here is IPv4.
func InternalIP(n corev1.Node) string {
	other := ""
	for _, a := range n.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if ip := net.ParseIP(a.Address); ip != nil && ip.To4() != nil {
			return a.Address
		}
		if other == "" {
			other = a.Address
		}
	}
	return other
}

// IsControlPlane says whether kubeadm marked the node as a control-plane node.
func IsControlPlane(n corev1.Node) bool {
	_, ok := n.Labels["node-role.kubernetes.io/control-plane"]
	return ok
}

// PodReady says whether a pod's Ready condition is true.
func PodReady(p corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// ServiceIP returns a Service's cluster IP.
func (r Reader) ServiceIP(ctx context.Context, namespace, name string) (string, error) {
	s, err := r.api.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading Service %s/%s: %w", namespace, name, err)
	}
	return s.Spec.ClusterIP, nil
}

// EndpointAddresses lists the ready addresses behind a Service, from its
// endpoint slices.
func (r Reader) EndpointAddresses(ctx context.Context, namespace, service string) ([]string, error) {
	list, err := r.api.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + service})
	if err != nil {
		return nil, fmt.Errorf("listing the endpoints of %s/%s: %w", namespace, service, err)
	}
	var out []string
	for _, s := range list.Items {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				out = append(out, e.Addresses...)
			}
		}
	}
	return out, nil
}
