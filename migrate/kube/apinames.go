package kube

import (
	"context"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// APIName is a place where a program is told at which host the API is. Of the
// text around it nothing is kept.
type APIName struct {
	Object string // "ConfigMap tigera-operator/kubernetes-services-endpoint"
	Key    string // "KUBERNETES_SERVICE_HOST", "container agent, variable …"
	Host   string // as it is written: a name or an address
}

// apiKeys are the names, in lower case and without dashes and underscores, of
// settings that hold the API's host or URL: Calico's ConfigMap
// kubernetes-services-endpoint and every in-cluster client read
// KUBERNETES_SERVICE_HOST, Cilium's chart has k8sServiceHost and
// k8s-api-server(-urls), Calico without Kubernetes' own client K8S_API_ENDPOINT.
var apiKeys = []string{"kubernetesservicehost", "k8sservicehost", "k8sapiserver", "k8sapiserverurls", "k8sapiendpoint", "kubernetesmaster", "kubernetesapiserver", "kubeapiserver", "apiserver"}

// apiFlags are arguments that do: flannel's, kube-router's and kube-proxy's,
// Cilium's, Antrea's.
var apiFlags = regexp.MustCompile(`^--(?:kube-api-url|kube-apiserver|kubernetes-url|kube-apiserver-override|k8s-api-server|k8s-api-server-urls|k8s-service-host|apiserver|api-server|apiserver-host|master|server)(?:=(.*))?$`)

// apiServers finds the server of a kubeconfig, in YAML and in JSON.
var apiServers = regexp.MustCompile(`(?:^|[\s{,"'])["']?server["']?\s*:\s*["']?(https?://[^\s"',}]+)`)

// APINames lists the places in ConfigMaps and in the pod templates of workloads.
func (r Reader) APINames(ctx context.Context, workloads []Workload) ([]APIName, error) {
	var out []APIName
	data := map[string]map[string]string{} // by namespace/name
	err := each(ctx, "ConfigMaps", metav1.ListOptions{}, r.api.CoreV1().ConfigMaps("").List, func(cm *corev1.ConfigMap) {
		data[cm.Namespace+"/"+cm.Name] = cm.Data
		for _, key := range sortedKeys(cm.Data) {
			out = append(out, named("ConfigMap "+cm.Namespace+"/"+cm.Name, key, hostsIn(key, cm.Data[key]))...)
		}
	})
	if err != nil {
		return nil, err
	}
	for _, w := range workloads {
		for _, c := range slices.Concat(w.Pods.Spec.InitContainers, w.Pods.Spec.Containers) {
			out = append(out, namedBy(w, c, data)...)
		}
	}
	return out, nil
}

// namedBy lists what a container is told by its variables and arguments.
func namedBy(w Workload, c corev1.Container, maps map[string]map[string]string) []APIName {
	var out []APIName
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil && e.ValueFrom.ConfigMapKeyRef != nil {
			value = maps[w.Namespace+"/"+e.ValueFrom.ConfigMapKeyRef.Name][e.ValueFrom.ConfigMapKeyRef.Key]
		}
		out = append(out, named(w.String(), "container "+c.Name+", variable "+e.Name, hostsIn(e.Name, value))...)
	}
	words := slices.Concat(c.Command, c.Args)
	for i, word := range words {
		m := apiFlags.FindStringSubmatch(word)
		if m == nil {
			continue
		}
		value := m[1]
		if !strings.Contains(word, "=") && i+1 < len(words) {
			value = words[i+1]
		}
		flag, _, _ := strings.Cut(word, "=")
		out = append(out, named(w.String(), "container "+c.Name+", argument "+flag, hostsOf(value))...)
	}
	return out
}

func named(object, key string, hosts []string) []APIName {
	var out []APIName
	for _, h := range hosts {
		out = append(out, APIName{Object: object, Key: key, Host: h})
	}
	return out
}

// hostsIn are the hosts of a setting: all of its value where its name says so,
// else those of kubeconfigs in it.
func hostsIn(key, value string) []string {
	if slices.Contains(apiKeys, strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(key))) {
		return hostsOf(value)
	}
	var out []string
	for _, m := range apiServers.FindAllStringSubmatch(value, -1) {
		out = append(out, hostsOf(m[1])...)
	}
	return out
}

// hostsOf reads a list of hosts, host:port pairs or URLs.
func hostsOf(value string) []string {
	var out []string
	for _, one := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", \t\n\"'", r) }) {
		host := one
		if u, err := url.Parse(one); err == nil && u.Host != "" {
			host = u.Hostname()
		} else if h, _, err := net.SplitHostPort(one); err == nil {
			host = h
		}
		host = strings.Trim(host, "[]")
		if host != "" && !strings.ContainsAny(host, "/$={}()") && !slices.Contains(out, host) {
			out = append(out, host)
		}
	}
	return out
}
