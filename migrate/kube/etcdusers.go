package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// EtcdPlace is what somebody who uses an etcd of one host would name.
type EtcdPlace struct {
	// Hosts are the host's addresses and names, Ports those of its clients and
	// metrics.
	Hosts []string
	Ports []string
	// Folders are those of the host that hold etcd's keys and data.
	Folders []string
}

// Names says whether a text names one of the host's ports; with inside also as
// one that is the host itself.
func (e EtcdPlace) Names(text string, inside bool) bool {
	hosts := e.Hosts
	if inside {
		hosts = append(slices.Clone(hosts), "127.0.0.1", "localhost", "[::1]")
	}
	for _, h := range hosts {
		for _, port := range e.Ports {
			if NamesHost(text, h+":"+port) {
				return true
			}
		}
	}
	return false
}

// UsedByPod says whether a pod is told where that etcd is, or mounts its keys
// or its data.
func (e EtcdPlace) UsedByPod(spec corev1.PodSpec) (bool, error) {
	for _, v := range spec.Volumes {
		if v.HostPath == nil {
			continue
		}
		for _, dir := range e.Folders {
			if at := strings.TrimSuffix(v.HostPath.Path, "/"); at == dir || strings.HasPrefix(at, dir+"/") {
				return true, nil
			}
		}
	}
	data, err := json.Marshal(spec)
	return e.Names(string(data), spec.HostNetwork), err
}

// EtcdUsers lists what in the cluster names an etcd. kubeadm's own pods and
// ConfigMap are left out. Of Secrets it tells names and keys alone.
func (r Reader) EtcdUsers(ctx context.Context, e EtcdPlace) ([]Mention, error) {
	var out []Mention
	for _, look := range []func(context.Context, EtcdPlace) ([]Mention, error){
		r.etcdConfigMaps, r.etcdSecrets, r.etcdWorkloads, r.etcdJobs, r.etcdPods, r.etcdServices,
	} {
		found, err := look(ctx, e)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

func (r Reader) etcdConfigMaps(ctx context.Context, e EtcdPlace) ([]Mention, error) {
	found, err := r.configMapsThat(ctx, func(text string) bool { return e.Names(text, false) })
	return slices.DeleteFunc(found, func(m Mention) bool { return m.Object == "ConfigMap kube-system/kubeadm-config" }), err
}

func (r Reader) etcdSecrets(ctx context.Context, e EtcdPlace) ([]Mention, error) {
	return r.secretsThat(ctx, func(text string) bool { return e.Names(text, false) })
}

func (r Reader) etcdWorkloads(ctx context.Context, e EtcdPlace) ([]Mention, error) {
	list, err := r.Workloads(ctx)
	if err != nil {
		return nil, err
	}
	var out []Mention
	for _, w := range list {
		uses, err := e.UsedByPod(w.Pods.Spec)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", w, err)
		}
		if uses {
			out = append(out, Mention{w.String(), "pod template"})
		}
	}
	return out, nil
}

func (r Reader) etcdJobs(ctx context.Context, e EtcdPlace) ([]Mention, error) {
	crons, err := r.api.BatchV1().CronJobs("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing CronJobs: %w", err)
	}
	jobs, err := r.api.BatchV1().Jobs("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing Jobs: %w", err)
	}
	var out []Mention
	add := func(what string, spec corev1.PodSpec) error {
		uses, err := e.UsedByPod(spec)
		if err != nil {
			return fmt.Errorf("reading %s: %w", what, err)
		}
		if uses {
			out = append(out, Mention{what, "pod template"})
		}
		return nil
	}
	for _, c := range crons.Items {
		if err := add("CronJob "+c.Namespace+"/"+c.Name, c.Spec.JobTemplate.Spec.Template.Spec); err != nil {
			return nil, err
		}
	}
	for _, j := range jobs.Items {
		if len(j.OwnerReferences) > 0 || ended(j) {
			continue
		}
		if err := add("Job "+j.Namespace+"/"+j.Name, j.Spec.Template.Spec); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func ended(j batchv1.Job) bool {
	return slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
}

// etcdPods are those that nothing listed before has made: static ones of
// others, and those of controllers that nobody here knows.
func (r Reader) etcdPods(ctx context.Context, e EtcdPlace) ([]Mention, error) {
	pods, err := r.Pods(ctx, "", "")
	if err != nil {
		return nil, err
	}
	known := []string{"ReplicaSet", "StatefulSet", "DaemonSet", "Job"}
	var out []Mention
	for _, p := range pods {
		_, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]
		ours := mirror && slices.Contains([]string{"etcd", "kube-apiserver"}, p.Labels["component"])
		if ours || slices.ContainsFunc(p.OwnerReferences, func(o metav1.OwnerReference) bool { return slices.Contains(known, o.Kind) }) {
			continue
		}
		uses, err := e.UsedByPod(p.Spec)
		if err != nil {
			return nil, fmt.Errorf("reading Pod %s/%s: %w", p.Namespace, p.Name, err)
		}
		if uses {
			out = append(out, Mention{"Pod " + p.Namespace + "/" + p.Name, "spec"})
		}
	}
	return out, nil
}

// serviceName is the label by which an EndpointSlice names its Service; the
// Service's own labels are on it as well (kube-controller-manager:
// endpointslice, endpointslicemirroring).
const serviceName = "kubernetes.io/service-name"

// etcdServices are Services that lead there, by a selector or by endpoints that
// somebody wrote, and what scrapes them.
func (r Reader) etcdServices(ctx context.Context, e EtcdPlace) ([]Mention, error) {
	list, err := r.api.DiscoveryV1().EndpointSlices("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing EndpointSlices: %w", err)
	}
	var out []Mention
	scraped := []labels.Set{{"component": "etcd", "tier": "control-plane"}} // the pod's own, as kubeadm labels it
	for _, slice := range list.Items {
		leads := ""
		for _, p := range slice.Ports {
			for _, at := range slice.Endpoints {
				for _, a := range at.Addresses {
					if p.Port != nil && slices.Contains(e.Hosts, a) && slices.Contains(e.Ports, fmt.Sprint(*p.Port)) {
						leads = fmt.Sprintf("%s:%d", a, *p.Port)
					}
				}
			}
		}
		if leads == "" {
			continue
		}
		what, name := "Service ", slice.Labels[serviceName]
		if name == "" {
			what, name = "EndpointSlice ", slice.Name
		}
		scraped = append(scraped, labels.Set(slice.Labels))
		out = append(out, Mention{what + slice.Namespace + "/" + name, "leads to " + leads})
	}
	found, err := r.scrapers(ctx, e, scraped)
	return append(out, found...), err
}

// scraperKinds are what the operators of Prometheus and VictoriaMetrics read,
// by the group and version of the API.
func scraperKinds() map[string][]string {
	return map[string][]string{
		"monitoring.coreos.com/v1":             {"servicemonitors", "podmonitors", "probes"},
		"monitoring.coreos.com/v1alpha1":       {"scrapeconfigs"},
		"operator.victoriametrics.com/v1beta1": {"vmservicescrapes", "vmpodscrapes", "vmstaticscrapes", "vmscrapeconfigs"},
	}
}

// scrapers lists objects of monitoring that select one of some sets of labels,
// or name the etcd.
func (r Reader) scrapers(ctx context.Context, e EtcdPlace, scraped []labels.Set) ([]Mention, error) {
	client := r.api.CoreV1().RESTClient()
	text, err := client.Get().AbsPath("/apis").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the groups of the API: %w", err)
	}
	kinds := scraperKinds()
	var out []Mention
	for _, group := range slices.Sorted(maps.Keys(kinds)) {
		if !strings.Contains(string(text), `"`+group+`"`) {
			continue
		}
		for _, kind := range kinds[group] {
			data, err := client.Get().AbsPath("/apis/" + group + "/" + kind).DoRaw(ctx)
			if apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("listing %s: %w", kind, err)
			}
			found, err := scrapersIn(data, kind, e, scraped)
			if err != nil {
				return nil, fmt.Errorf("listing %s: %w", kind, err)
			}
			out = append(out, found...)
		}
	}
	return out, nil
}

func scrapersIn(data []byte, kind string, e EtcdPlace, scraped []labels.Set) ([]Mention, error) {
	var list struct {
		Items []struct {
			Kind     string            `json:"kind"`
			Metadata metav1.ObjectMeta `json:"metadata"`
			Spec     json.RawMessage   `json:"spec"`
		} `json:"items"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	var out []Mention
	for _, item := range list.Items {
		var spec struct {
			Selector *metav1.LabelSelector `json:"selector"`
		}
		if err := json.Unmarshal(item.Spec, &spec); err != nil {
			spec.Selector = nil // another kind of selector: then its text counts
		}
		selects := false
		if s := spec.Selector; s != nil && len(s.MatchLabels)+len(s.MatchExpressions) > 0 {
			selector, err := metav1.LabelSelectorAsSelector(s)
			selects = err == nil && slices.ContainsFunc(scraped, func(set labels.Set) bool { return selector.Matches(set) })
		}
		if !selects && !e.Names(string(item.Spec), false) {
			continue
		}
		name := item.Kind
		if name == "" {
			name = kind
		}
		out = append(out, Mention{name + " " + item.Metadata.Namespace + "/" + item.Metadata.Name, "scrapes it"})
	}
	return out, nil
}
