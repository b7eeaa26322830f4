package e2e

// Who last wrote which field, and when, goes with every change of an object.
const managedFields = "metadata managedFields"

// exceptions is the whole list of what may differ between the keys of before
// and those of after. An exception that covers no key fails the test.
func exceptions() []exception {
	all := []string{whole}
	return []exception{
		// What a cluster writes without anybody's doing.
		{"leases/*", "renewed every few seconds by nodes, API servers and controllers", all},
		{"masterleases/*", "renewed by the API servers: who they are is what the migration changes", all},
		{"peerserverleases/*", "renewed by the API servers", all},
		{"events/*", "a log that etcd itself forgets after an hour", all},
		{"minions/*", "the kubelets' heartbeats", []string{managedFields, "status"}},

		// What phase 1 points to the endpoint.
		{"configmaps/kube-public/cluster-info", "names the endpoint, is signed anew", []string{managedFields, "data"}},
		{"configmaps/kube-system/kubeadm-config", "names the endpoint and the etcd hosts", []string{managedFields, "data ClusterConfiguration"}},
		{"configmaps/kube-system/kube-proxy", "names the endpoint", []string{managedFields, "data kubeconfig.conf"}},
		{"daemonsets/kube-system/kube-proxy", "rolled out so that kube-proxy reads its new kubeconfig, and onto the new nodes", []string{
			managedFields, "metadata generation", "metadata annotations deprecated.daemonset.template.generation",
			"spec template metadata annotations", "status",
		}},
		{"pods/kube-system/kube-proxy-*", "replaced by the roll-out", all},
		{"pods/e2e/*", "a restarted kubelet reports the resources of running pods in more detail", []string{managedFields, "status resources"}},

		// What phase 2 does to the first control-plane node.
		{"pods/kube-system/etcd-cp1", "etcd does not run there any more", all},
		{"pods/kube-system/kube-apiserver-cp1", "a new mirror pod: it has other arguments", []string{
			managedFields, "metadata uid", "metadata creationTimestamp",
			"metadata annotations kubernetes.io/config.hash", "metadata annotations kubernetes.io/config.mirror",
			"metadata annotations kubernetes.io/config.seen", "spec containers [] command", "status",
		}},
		{"pods/kube-system/kube-controller-manager-cp1", "restarts when the API server restarts in place and its lease runs out", []string{managedFields, "status"}},
		{"pods/kube-system/kube-scheduler-cp1", "restarts when the API server restarts in place and its lease runs out", []string{managedFields, "status"}},

		// What phase 3 adds.
		{"endpointslices/default/kubernetes", "names all API servers", []string{managedFields, "metadata generation", "endpoints"}},
		{"services/endpoints/default/kubernetes", "names all API servers", []string{managedFields, "subsets"}},
		{"deployments/kube-system/coredns", "rolled out to spread its pods", []string{
			managedFields, "metadata generation", "metadata annotations deployment.kubernetes.io/revision",
			"spec template metadata annotations", "status",
		}},
		{"replicasets/kube-system/coredns-*", "the one before the roll-out, scaled to 0", []string{managedFields, "metadata generation", "spec replicas", "status"}},
		{"pods/kube-system/coredns-*", "replaced by the roll-out", all},
		{"endpointslices/kube-system/kube-dns-*", "CoreDNS has other pods", []string{
			managedFields, "metadata generation", "metadata annotations endpoints.kubernetes.io/last-change-trigger-time", "endpoints",
		}},
		{"services/endpoints/kube-system/kube-dns", "CoreDNS has other pods", []string{
			managedFields, "metadata annotations endpoints.kubernetes.io/last-change-trigger-time", "subsets",
		}},
	}
}
