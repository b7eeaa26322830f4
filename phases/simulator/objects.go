package simulator

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// empty returns a new object of a resource, nil for one that is not played.
func empty(resource string) object {
	switch resource {
	case "namespaces":
		return &corev1.Namespace{}
	case "nodes":
		return &corev1.Node{}
	case "configmaps":
		return &corev1.ConfigMap{}
	case "secrets":
		return &corev1.Secret{}
	case "pods":
		return &corev1.Pod{}
	case "services":
		return &corev1.Service{}
	case "leases":
		return &coordinationv1.Lease{}
	case "endpointslices":
		return &discoveryv1.EndpointSlice{}
	case "cronjobs":
		return &batchv1.CronJob{}
	case "jobs":
		return &batchv1.Job{}
	case "daemonsets":
		return &appsv1.DaemonSet{}
	case "deployments":
		return &appsv1.Deployment{}
	case "statefulsets":
		return &appsv1.StatefulSet{}
	}
	return nil
}

func emptyList(resource string) runtime.Object {
	switch resource {
	case "nodes":
		return &corev1.NodeList{}
	case "secrets":
		return &corev1.SecretList{}
	case "pods":
		return &corev1.PodList{}
	case "configmaps":
		return &corev1.ConfigMapList{}
	case "endpointslices":
		return &discoveryv1.EndpointSliceList{}
	case "leases":
		return &coordinationv1.LeaseList{}
	case "cronjobs":
		return &batchv1.CronJobList{}
	case "jobs":
		return &batchv1.JobList{}
	case "daemonsets":
		return &appsv1.DaemonSetList{}
	case "deployments":
		return &appsv1.DeploymentList{}
	case "statefulsets":
		return &appsv1.StatefulSetList{}
	}
	return nil
}

func groupResource(resource string) schema.GroupResource {
	return schema.GroupResource{Resource: resource}
}

// lookup returns an object of the store, nil where there is none.
func lookup[T object](o *objects, resource, namespace, name string) T {
	obj, ok := o.items[objectKey{resource, namespace, name}].(T)
	if !ok {
		var none T
		return none
	}
	return obj
}

// find lists the objects of a resource by name.
func (o *objects) find(resource, namespace string) []object {
	var keys []objectKey
	for k := range o.items {
		if k.resource == resource && (namespace == "" || k.namespace == namespace) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b objectKey) int { return strings.Compare(a.String(), b.String()) })
	var out []object
	for _, k := range keys {
		out = append(out, o.items[k])
	}
	return out
}

// create adds an object as the API server does.
func (w *World) create(resource string, obj object) error {
	key := objectKey{resource, obj.GetNamespace(), obj.GetName()}
	if w.objects.items[key] != nil {
		return apierrors.NewAlreadyExists(groupResource(resource), key.name)
	}
	w.objects.uids++
	obj.SetUID(metav1UID(w.objects.uids))
	obj.SetCreationTimestamp(metav1.Now())
	if s, ok := obj.(*corev1.Secret); ok {
		moveStringData(s)
	}
	w.objects.items[key] = obj
	w.stamp(obj)
	return nil
}

// stamp gives an object that was written its version.
func (w *World) stamp(obj object) {
	w.store().wrote(true)
	obj.SetResourceVersion(strconv.FormatInt(w.store().revision, 10))
}

// store is the etcd cluster that the API servers write to.
func (w *World) store() *etcdCluster { return w.clusters[0] }

// moveStringData is what the API server does with the write-only field.
func moveStringData(s *corev1.Secret) {
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	for k, v := range s.StringData {
		s.Data[k] = []byte(v)
	}
	s.StringData = nil
}

// update replaces an object, unless somebody else was faster.
func (w *World) update(resource string, obj object) error {
	key := objectKey{resource, obj.GetNamespace(), obj.GetName()}
	have := w.objects.items[key]
	if have == nil {
		return apierrors.NewNotFound(groupResource(resource), key.name)
	}
	if v := obj.GetResourceVersion(); v != "" && v != have.GetResourceVersion() {
		return apierrors.NewConflict(groupResource(resource), key.name, fmt.Errorf("the object has been modified"))
	}
	bumpGeneration(have, obj)
	w.objects.items[key] = obj
	w.stamp(obj)
	return nil
}

// bumpGeneration counts the changes of a workload's spec.
func bumpGeneration(before, after object) {
	a, okA := before.(*appsv1.DaemonSet)
	b, okB := after.(*appsv1.DaemonSet)
	if okA && okB && !equality.Semantic.DeepEqual(a.Spec, b.Spec) {
		b.Generation = a.Generation + 1
	}
	c, okC := before.(*appsv1.Deployment)
	d, okD := after.(*appsv1.Deployment)
	if okC && okD && !equality.Semantic.DeepEqual(c.Spec, d.Spec) {
		d.Generation = c.Generation + 1
	}
}

func (w *World) delete(resource, namespace, name string) error {
	key := objectKey{resource, namespace, name}
	if w.objects.items[key] == nil {
		return apierrors.NewNotFound(groupResource(resource), name)
	}
	delete(w.objects.items, key)
	w.store().wrote(true)
	if resource == "nodes" {
		w.forgetNode(name)
	}
	return nil
}

// forgetNode is what the garbage collectors do after a Node.
func (w *World) forgetNode(name string) {
	delete(w.objects.items, objectKey{"leases", corev1.NamespaceNodeLease, name})
	for key, obj := range w.objects.items {
		if pod, ok := obj.(*corev1.Pod); ok && pod.Spec.NodeName == name {
			if !ownedBy(pod, "DaemonSet") {
				w.never("node %s was deleted with pod %s on it", name, pod.Name)
			}
			delete(w.objects.items, key)
		}
	}
}

func ownedBy(obj object, kind string) bool {
	owner := metav1.GetControllerOf(obj)
	return owner != nil && owner.Kind == kind
}

// selected says whether an object matches a list's selectors.
func selected(obj object, labelSelector, fieldSelector string) (bool, error) {
	selector, err := labels.Parse(labelSelector)
	if err != nil {
		return false, apierrors.NewBadRequest(err.Error())
	}
	if !selector.Matches(labels.Set(obj.GetLabels())) {
		return false, nil
	}
	if fieldSelector == "" {
		return true, nil
	}
	if node, ok := strings.CutPrefix(fieldSelector, "spec.nodeName="); ok {
		if pod, isPod := obj.(*corev1.Pod); isPod {
			return pod.Spec.NodeName == node, nil
		}
	}
	want, ok := strings.CutPrefix(fieldSelector, "type=")
	secret, isSecret := obj.(*corev1.Secret)
	if !ok || !isSecret {
		return false, apierrors.NewBadRequest("field selector " + fieldSelector + " is not played")
	}
	return string(secret.Type) == want, nil
}

func metav1UID(n int) types.UID { return types.UID(fmt.Sprintf("uid-%d", n)) }

func (w *World) node(name string) *corev1.Node {
	return lookup[*corev1.Node](w.objects, "nodes", "", name)
}

func (w *World) lease(node string) *coordinationv1.Lease {
	return lookup[*coordinationv1.Lease](w.objects, "leases", corev1.NamespaceNodeLease, node)
}

// setReady sets a node's Ready condition.
func setReady(n *corev1.Node, ready bool) {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}
}

func micro(t time.Time) *metav1.MicroTime { return &metav1.MicroTime{Time: t} }
