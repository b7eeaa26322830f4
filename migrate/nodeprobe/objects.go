package nodeprobe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

const (
	// Namespace holds the pods and what they write.
	Namespace = "migrate-probe-nodes"

	account        = "probe"
	managedByLabel = "app.kubernetes.io/managed-by"
	managedBy      = "migrate"
	mountedProgram = "/migrate"
)

// prepareNamespace makes the namespace and the account that the pods use.
// With replace, one that an earlier run left is removed first.
func (p *Probes) prepareNamespace(ctx context.Context, replace bool) error {
	ctx, cancel := within(ctx, settleTime)
	defer cancel()
	if replace {
		if err := p.removeNamespace(ctx); err != nil {
			return err
		}
	}
	core, rbac := p.api.CoreV1(), p.api.RbacV1()
	labels := map[string]string{
		managedByLabel: managedBy,
		// The pods mount folders of the node.
		"pod-security.kubernetes.io/enforce": "privileged",
	}
	_, err := core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace, Labels: labels}}, metav1.CreateOptions{})
	if err := ignoreExists(err); err != nil {
		return fmt.Errorf("making namespace %s: %w", Namespace, err)
	}
	p.made = true
	meta := metav1.ObjectMeta{Name: account, Namespace: Namespace}
	_, err = core.ServiceAccounts(Namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	if err := ignoreExists(err); err != nil {
		return fmt.Errorf("making the probe's service account: %w", err)
	}
	// /readyz needs no rule: system:public-info-viewer.
	rule := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "watch", "create", "update", "delete"}}
	_, err = rbac.Roles(Namespace).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{})
	if err := ignoreExists(err); err != nil {
		return fmt.Errorf("making the probe's role: %w", err)
	}
	_, err = rbac.RoleBindings(Namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta,
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: Namespace}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: account},
	}, metav1.CreateOptions{})
	if err := ignoreExists(err); err != nil {
		return fmt.Errorf("making the probe's role binding: %w", err)
	}
	return nil
}

func ignoreExists(err error) error {
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// makePod makes the pod of a node, in place of one that is there.
func (p *Probes) makePod(ctx context.Context, node string) error {
	image, err := p.imageOn(ctx, node)
	if err != nil {
		return err
	}
	cpu, err := p.room(ctx, node)
	if err != nil {
		return err
	}
	pods := p.api.CoreV1().Pods(Namespace)
	now := int64(0)
	if err := pods.Delete(ctx, podName(node), metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing the probe's old pod on %s: %w", node, err)
	}
	err = poll(ctx, func() (bool, error) {
		_, err := pods.Create(ctx, p.pod(node, image, cpu), metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) { // the old one, until it is gone
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("making the probe's pod on %s: %w", node, err)
	}
	return nil
}

func podName(node string) string { return "probe-" + node }

// What a pod asks for of its node's CPU, and how much has to be free there for
// it. A pod that asks for nothing gets no processor for seconds where others
// are busy, and takes that for the API's slowness; one that asks for more than
// is left is not admitted.
var (
	wantedCPU = apiresource.MustParse("100m")
	neededCPU = apiresource.MustParse("300m")
)

// room says what the pod of a node is to ask for; nil: nothing.
func (p *Probes) room(ctx context.Context, node string) (corev1.ResourceList, error) {
	if p.cfg.CPULeft == nil {
		return nil, nil
	}
	left, err := p.cfg.CPULeft(ctx, node, podName(node))
	if err != nil {
		return nil, fmt.Errorf("looking for room for the probe's pod: %w", err)
	}
	if left.Cmp(neededCPU) < 0 {
		return nil, nil
	}
	return corev1.ResourceList{corev1.ResourceCPU: wantedCPU}, nil
}

// imageOn finds an image that the node has: that of a pod which runs there.
func (p *Probes) imageOn(ctx context.Context, node string) (string, error) {
	list, err := p.api.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String()})
	if err != nil {
		return "", fmt.Errorf("listing the pods on %s: %w", node, err)
	}
	// System pods first: their images are not collected as unused.
	slices.SortStableFunc(list.Items, func(a, b corev1.Pod) int { return rank(a) - rank(b) })
	for _, pod := range list.Items {
		for _, c := range pod.Status.ContainerStatuses {
			i := slices.IndexFunc(pod.Spec.Containers, func(s corev1.Container) bool { return s.Name == c.Name })
			if i >= 0 && c.State.Running != nil {
				return pod.Spec.Containers[i].Image, nil
			}
		}
	}
	return "", fmt.Errorf("no container runs on %s, so no image is known to be there", node)
}

func rank(p corev1.Pod) int {
	if p.Namespace == metav1.NamespaceSystem {
		return 0
	}
	return 1
}

// pod is bound to its node by name, past the scheduler and its taints.
func (p *Probes) pod(node, image string, cpu corev1.ResourceList) *corev1.Pod {
	no, yes, second := false, true, int64(1)
	root := int64(0)
	directory := corev1.HostPathDirectory
	args := append(slices.Clone(p.cfg.Arguments), "--socket", socket, "--namespace", Namespace, "--node", node,
		"--rate", strconv.FormatFloat(p.cfg.Rate, 'g', -1, 64), "--digest", p.digest, "--run", p.cfg.Run)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: podName(node), Namespace: Namespace, Labels: map[string]string{managedByLabel: managedBy}},
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: account, RestartPolicy: corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: &second,
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{
				Name: "probe", Image: image, ImagePullPolicy: corev1.PullNever,
				Command:   append([]string{mountedProgram + "/migrate"}, args...),
				Resources: corev1.ResourceRequirements{Requests: cpu},
				SecurityContext: &corev1.SecurityContext{
					RunAsUser: &root, AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
					// Where SELinux enforces, a confined container can't make
					// a socket in a folder of the node.
					SELinuxOptions: &corev1.SELinuxOptions{Type: "spc_t"},
				},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "program", MountPath: mountedProgram, ReadOnly: true},
					{Name: "socket", MountPath: socketDir},
				},
			}},
			Volumes: []corev1.Volume{
				{Name: "program", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: programDir, Type: &directory}}},
				{Name: "socket", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: socketDir, Type: &directory}}},
			},
		},
	}
}

// ended is an error when the pod of a node has ended or was taken away: it
// will not come back. That it can't be asked for is none.
func (p *Probes) ended(ctx context.Context, node string) error {
	pod, err := p.api.CoreV1().Pods(Namespace).Get(ctx, podName(node), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return errors.New("the pod was removed")
	}
	if err == nil && (pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded) {
		return errors.New("the pod has ended")
	}
	return nil
}

// podProblem says why a pod does not run, as far as its status tells.
func (p *Probes) podProblem(ctx context.Context, node string) error {
	ctx, cancel := within(ctx, stopTime)
	defer cancel()
	pod, err := p.api.CoreV1().Pods(Namespace).Get(ctx, podName(node), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the probe's pod on %s: %w", node, err)
	}
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			return fmt.Errorf("its pod waits: %s %s", w.Reason, w.Message)
		}
		if t := c.State.Terminated; t != nil {
			last, tail := int64(3), ""
			if log, err := p.api.CoreV1().Pods(Namespace).GetLogs(podName(node), &corev1.PodLogOptions{TailLines: &last}).DoRaw(ctx); err == nil {
				tail = ": " + strings.TrimSpace(string(log))
			}
			return fmt.Errorf("its pod ended with exit code %d%s", t.ExitCode, tail)
		}
	}
	return fmt.Errorf("its pod is %s %s", pod.Status.Phase, pod.Status.Message)
}

// removeNamespace removes the namespace with all that is in it, and waits
// until it is gone. A namespace of that name that is not ours is left alone.
func (p *Probes) removeNamespace(ctx context.Context) error {
	ctx, cancel := within(ctx, settleTime)
	defer cancel()
	namespaces := p.api.CoreV1().Namespaces()
	found, err := namespaces.Get(ctx, Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading namespace %s: %w", Namespace, err)
	}
	if found.Labels[managedByLabel] != managedBy {
		return fmt.Errorf("namespace %s exists and is not the probe's (no label %s=%s)", Namespace, managedByLabel, managedBy)
	}
	if err := namespaces.Delete(ctx, Namespace, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting namespace %s: %w", Namespace, err)
	}
	err = poll(ctx, func() (bool, error) {
		_, err := namespaces.Get(ctx, Namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for namespace %s to be gone (see why with `kubectl get namespace %[1]s -o yaml`): %w", Namespace, err)
	}
	return nil
}
