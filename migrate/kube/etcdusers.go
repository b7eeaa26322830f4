package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"

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
	// Members are the new ones, which take its place.
	Members []EtcdMember
}

// EtcdMember is a new member as its users would name it.
type EtcdMember struct {
	Hosts []string // its addresses and names, the one to be used first
	Port  string   // of its clients
}

// URL is what to tell a client.
func (m EtcdMember) URL() string { return "https://" + net.JoinHostPort(m.Hosts[0], m.Port) }

// Pattern finds the member at one of some ports in a text, as an extended
// regular expression that Go and grep read alike; a name may go on with its
// domain.
func (m EtcdMember) Pattern(ports ...string) string {
	var hosts []string
	for _, h := range m.Hosts {
		domain := ""
		if net.ParseIP(h) == nil {
			domain = `(\.[A-Za-z0-9.-]+)?`
		}
		hosts = append(hosts, regexp.QuoteMeta(h)+domain)
	}
	return "(^|[^A-Za-z0-9.-])(" + strings.Join(hosts, "|") + "):(" + strings.Join(ports, "|") + ")([^0-9]|$)"
}

// EtcdUser is a place that names an etcd.
type EtcdUser struct {
	Mention
	// Lacks lists the URLs of the new members that it does not name. Ready is one
	// that names all of them: its owner has done what is to be done before the
	// old one goes. Where no new members are known, nobody is.
	Lacks []string
	Ready bool
}

// user is a place with such a text.
func (e EtcdPlace) user(m Mention, text string, inside bool) EtcdUser {
	lacks := e.lacks(text, inside)
	return EtcdUser{m, lacks, len(e.Members) > 0 && len(lacks) == 0}
}

// Names says whether a text names one of the host's ports; with inside also as
// one that is the host itself.
func (e EtcdPlace) Names(text string, inside bool) bool { return len(e.named(text, inside)) > 0 }

// named lists the ports at which a text names the host.
func (e EtcdPlace) named(text string, inside bool) []string {
	hosts := e.Hosts
	if inside {
		hosts = append(slices.Clone(hosts), "127.0.0.1", "localhost", "[::1]")
	}
	var ports []string
	for _, port := range e.Ports {
		if slices.ContainsFunc(hosts, func(h string) bool { return NamesHost(text, h+":"+port) }) {
			ports = append(ports, port)
		}
	}
	return ports
}

// lacks lists the new members that a text does not name at each port at which
// it names the old one, or at that of clients, which serves metrics as well. A
// text that names no port of the old one (it mounts its keys) must name the new
// ones for clients.
func (e EtcdPlace) lacks(text string, inside bool) []string {
	var out []string
	for _, m := range e.Members {
		ports := e.named(text, inside)
		if len(ports) == 0 {
			ports = []string{m.Port}
		}
		if slices.ContainsFunc(ports, func(port string) bool { return !regexp.MustCompile(m.Pattern(port, m.Port)).MatchString(text) }) {
			out = append(out, m.URL())
		}
	}
	return out
}

// podUser adds a pod that is told where that etcd is, or mounts its keys or its
// data.
func (e EtcdPlace) podUser(out []EtcdUser, m Mention, spec corev1.PodSpec) ([]EtcdUser, error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", m.Object, err)
	}
	text := string(data)
	uses := e.Names(text, spec.HostNetwork) || slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool {
		return v.HostPath != nil && slices.ContainsFunc(e.Folders, func(dir string) bool {
			at := strings.TrimSuffix(v.HostPath.Path, "/")
			return at == dir || strings.HasPrefix(at, dir+"/")
		})
	})
	if uses {
		out = append(out, e.user(m, text, spec.HostNetwork))
	}
	return out, nil
}

// EtcdUsers lists what in the cluster names an etcd besides ConfigMaps and
// Secrets (Values). kubeadm's own pods are left out.
func (r Reader) EtcdUsers(ctx context.Context, e EtcdPlace) ([]EtcdUser, error) {
	var out []EtcdUser
	for _, look := range []func(context.Context, EtcdPlace) ([]EtcdUser, error){r.etcdWorkloads, r.etcdJobs, r.etcdPods, r.etcdServices} {
		found, err := look(ctx, e)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

func (r Reader) etcdWorkloads(ctx context.Context, e EtcdPlace) ([]EtcdUser, error) {
	list, err := r.Workloads(ctx)
	if err != nil {
		return nil, err
	}
	var out []EtcdUser
	for _, w := range list {
		if out, err = e.podUser(out, Mention{w.String(), "pod template"}, w.Pods.Spec); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r Reader) etcdJobs(ctx context.Context, e EtcdPlace) ([]EtcdUser, error) {
	var crons []*batchv1.CronJob
	err := each(ctx, "CronJobs", metav1.ListOptions{}, r.api.BatchV1().CronJobs("").List, func(c *batchv1.CronJob) { crons = append(crons, c) })
	if err != nil {
		return nil, err
	}
	var jobs []*batchv1.Job
	err = each(ctx, "Jobs", metav1.ListOptions{}, r.api.BatchV1().Jobs("").List, func(j *batchv1.Job) {
		if len(j.OwnerReferences) == 0 && !ended(*j) {
			jobs = append(jobs, j)
		}
	})
	if err != nil {
		return nil, err
	}
	var out []EtcdUser
	for _, c := range crons {
		if out, err = e.podUser(out, Mention{"CronJob " + c.Namespace + "/" + c.Name, "pod template"}, c.Spec.JobTemplate.Spec.Template.Spec); err != nil {
			return nil, err
		}
	}
	for _, j := range jobs {
		if out, err = e.podUser(out, Mention{"Job " + j.Namespace + "/" + j.Name, "pod template"}, j.Spec.Template.Spec); err != nil {
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
func (r Reader) etcdPods(ctx context.Context, e EtcdPlace) ([]EtcdUser, error) {
	pods, err := r.Pods(ctx, "", "")
	if err != nil {
		return nil, err
	}
	known := []string{"ReplicaSet", "StatefulSet", "DaemonSet", "Job"}
	var out []EtcdUser
	for _, p := range pods {
		_, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]
		ours := mirror && slices.Contains([]string{"etcd", "kube-apiserver"}, p.Labels["component"])
		if ours || slices.ContainsFunc(p.OwnerReferences, func(o metav1.OwnerReference) bool { return slices.Contains(known, o.Kind) }) {
			continue
		}
		if out, err = e.podUser(out, Mention{"Pod " + p.Namespace + "/" + p.Name, "spec"}, p.Spec); err != nil {
			return nil, err
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
func (r Reader) etcdServices(ctx context.Context, e EtcdPlace) ([]EtcdUser, error) {
	var found []*discoveryv1.EndpointSlice
	err := each(ctx, "EndpointSlices", metav1.ListOptions{}, r.api.DiscoveryV1().EndpointSlices("").List,
		func(s *discoveryv1.EndpointSlice) { found = append(found, s) })
	if err != nil {
		return nil, err
	}
	var out []EtcdUser
	scraped := []labels.Set{{"component": "etcd", "tier": "control-plane"}} // the pod's own, as kubeadm labels it
	for _, slice := range found {
		leads := ""
		var all []string
		for _, p := range slice.Ports {
			for _, at := range slice.Endpoints {
				for _, a := range at.Addresses {
					if p.Port == nil {
						continue
					}
					to := fmt.Sprintf("%s:%d", a, *p.Port)
					all = append(all, to)
					if slices.Contains(e.Hosts, a) && slices.Contains(e.Ports, fmt.Sprint(*p.Port)) {
						leads = to
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
		user := e.user(Mention{what + slice.Namespace + "/" + name, "leads to " + leads}, strings.Join(all, " "), false)
		if !user.Ready { // else who scrapes it scrapes the new ones, too
			scraped = append(scraped, labels.Set(slice.Labels))
		}
		out = append(out, user)
	}
	scrapers, err := r.scrapers(ctx, e, scraped)
	return append(out, scrapers...), err
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
func (r Reader) scrapers(ctx context.Context, e EtcdPlace, scraped []labels.Set) ([]EtcdUser, error) {
	client := r.api.CoreV1().RESTClient()
	text, err := client.Get().AbsPath("/apis").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the groups of the API: %w", err)
	}
	kinds := scraperKinds()
	var out []EtcdUser
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

func scrapersIn(data []byte, kind string, e EtcdPlace, scraped []labels.Set) ([]EtcdUser, error) {
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
	var out []EtcdUser
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
		out = append(out, e.user(Mention{name + " " + item.Metadata.Namespace + "/" + item.Metadata.Name, "scrapes it"}, string(item.Spec), false))
	}
	return out, nil
}
