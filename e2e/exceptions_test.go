package e2e

// Who last wrote which field, and when, goes with every change of an object.
const managedFields = "metadata managedFields"

// exceptions is the whole list of what may differ between the keys of before
// and those of after. An exception that covers no key fails the test.
func exceptions() []exception {
	all := []string{whole}
	return []exception{
		// What a cluster writes without anybody's doing.
		{key: "leases/*", reason: "renewed every few seconds by nodes, API servers and controllers", ignore: all},
		{key: "masterleases/*", reason: "renewed by the API servers: who they are is what the migration changes", ignore: all},
		{key: "peerserverleases/*", reason: "renewed by the API servers", ignore: all, newer: true},
		{key: "events/*", reason: "a log that etcd itself forgets after an hour", ignore: all},
		{key: "minions/*", reason: "the kubelets' heartbeats", ignore: []string{managedFields, "status"}},

		// What phase 1 points to the endpoint.
		{key: "configmaps/kube-public/cluster-info", reason: "names the endpoint, is signed again", ignore: []string{managedFields, "data"}},
		{key: "configmaps/kube-system/kubeadm-config", reason: "names the endpoint and the etcd hosts", ignore: []string{managedFields, "data ClusterConfiguration"}},
		{key: "configmaps/kube-system/kube-proxy", reason: "names the endpoint", ignore: []string{managedFields, "data kubeconfig.conf"}},
		{key: "daemonsets/kube-system/kube-proxy", reason: "rolled out so that kube-proxy reads its new kubeconfig, and onto the new nodes", ignore: []string{
			managedFields, "metadata generation", "metadata annotations deprecated.daemonset.template.generation",
			"spec template metadata annotations", "status",
		}},
		{key: "controllerrevisions/kube-system/kube-proxy-*", reason: "after a way back the one of before has a higher number", ignore: []string{managedFields, "revision"}},
		{key: "pods/kube-system/kube-proxy-*", reason: "replaced by the roll-out", ignore: all},
		{key: "pods/e2e/*", reason: "a restarted kubelet reports the resources of running pods in more detail", ignore: []string{managedFields, "status resources"}},

		// What phase 2 does to the first control-plane node.
		{key: "pods/kube-system/etcd-cp1", reason: "etcd does not run there any more", ignore: all},
		{key: "pods/kube-system/kube-apiserver-cp1", reason: "a new mirror pod: it has other arguments", ignore: []string{
			managedFields, "metadata uid", "metadata creationTimestamp",
			"metadata annotations kubernetes.io/config.hash", "metadata annotations kubernetes.io/config.mirror",
			"metadata annotations kubernetes.io/config.seen", "spec containers [] command", "status",
		}},
		{key: "pods/kube-system/kube-controller-manager-cp1", reason: "restarts when the API server restarts in place and its lease runs out", ignore: []string{managedFields, "status"}},
		{key: "pods/kube-system/kube-scheduler-cp1", reason: "restarts when the API server restarts in place and its lease runs out", ignore: []string{managedFields, "status"}},

		{key: "servicecidrs/kubernetes", reason: "each API server that starts says again that it is ready", ignore: []string{managedFields, "status conditions [] lastTransitionTime"}},

		// What phase 3 adds.
		{key: "endpointslices/default/kubernetes", reason: "names all API servers", ignore: []string{managedFields, "metadata generation", "endpoints"}},
		{key: "services/endpoints/default/kubernetes", reason: "names all API servers", ignore: []string{managedFields, "subsets"}},
		{key: "deployments/kube-system/coredns", reason: "rolled out to spread its pods", ignore: []string{
			managedFields, "metadata generation", "metadata annotations deployment.kubernetes.io/revision",
			"spec template metadata annotations", "status",
		}},
		{key: "replicasets/kube-system/coredns-*", reason: "the one before the roll-out, scaled to 0", ignore: []string{managedFields, "metadata generation", "spec replicas", "status"}},
		{key: "pods/kube-system/coredns-*", reason: "replaced by the roll-out", ignore: all},
		{key: "endpointslices/kube-system/kube-dns-*", reason: "CoreDNS has other pods", ignore: []string{
			managedFields, "metadata generation", "metadata annotations endpoints.kubernetes.io/last-change-trigger-time", "endpoints",
		}},
		{key: "services/endpoints/kube-system/kube-dns", reason: "CoreDNS has other pods", ignore: []string{
			managedFields, "metadata annotations endpoints.kubernetes.io/last-change-trigger-time", "subsets",
		}},
	}
}

// exceptionsBack is the whole list of what may differ between the keys of
// before and those after the way back.
func exceptionsBack() []exception {
	all := []string{whole}
	restarted := []string{
		managedFields, "metadata uid", "metadata creationTimestamp", "metadata annotations kubernetes.io/config.mirror",
		"metadata annotations kubernetes.io/config.seen", "status",
	}
	return []exception{
		{key: "leases/*", reason: "renewed every few seconds by nodes, API servers and controllers", ignore: all},
		{key: "masterleases/*", reason: "renewed by the API servers", ignore: all},
		{key: "peerserverleases/*", reason: "renewed by the API servers", ignore: all, newer: true},
		{key: "events/*", reason: "a log that etcd itself forgets after an hour", ignore: all},
		{key: "minions/*", reason: "the kubelets' heartbeats", ignore: []string{managedFields, "status"}},

		{key: "configmaps/kube-public/cluster-info", reason: "changed and changed back; signed for tokens that come and go", ignore: []string{managedFields, "data jws-kubeconfig-*"}},
		{key: "configmaps/kube-system/kubeadm-config", reason: "changed and changed back", ignore: []string{managedFields}},
		{key: "configmaps/kube-system/kube-proxy", reason: "changed and changed back", ignore: []string{managedFields}},
		{key: "daemonsets/kube-system/kube-proxy", reason: "rolled out twice", ignore: []string{
			managedFields, "metadata generation", "metadata annotations deprecated.daemonset.template.generation", "status",
		}},
		{key: "controllerrevisions/kube-system/kube-proxy-*", reason: "the one of before is in force again, as the newest", ignore: []string{managedFields, "revision"}},
		{key: "pods/kube-system/kube-proxy-*", reason: "replaced by the roll-outs", ignore: all},
		{key: "pods/e2e/*", reason: "a restarted kubelet reports the resources of running pods in more detail", ignore: []string{managedFields, "status"}},

		{key: "pods/kube-system/etcd-cp1", reason: "a new mirror pod of the same manifest", ignore: restarted},
		{key: "pods/kube-system/kube-apiserver-cp1", reason: "a new mirror pod of the same manifest", ignore: restarted},
		{key: "pods/kube-system/kube-controller-manager-cp1", reason: "restarts when its lease runs out or its host was off", ignore: []string{managedFields, "status"}},
		{key: "pods/kube-system/kube-scheduler-cp1", reason: "restarts when its lease runs out or its host was off", ignore: []string{managedFields, "status"}},
		{key: "servicecidrs/kubernetes", reason: "each API server that starts says again that it is ready", ignore: []string{managedFields, "status conditions [] lastTransitionTime"}},

		{key: "endpointslices/default/kubernetes", reason: "named all API servers for a while", ignore: []string{managedFields, "metadata generation"}},
		{key: "services/endpoints/default/kubernetes", reason: "named all API servers for a while", ignore: []string{managedFields}},
		{key: "deployments/kube-system/coredns", reason: "stays rolled out", ignore: []string{
			managedFields, "metadata generation", "metadata annotations deployment.kubernetes.io/revision",
			"spec template metadata annotations", "status",
		}},
		{key: "replicasets/kube-system/coredns-*", reason: "the one before the roll-out, scaled to 0", ignore: []string{managedFields, "metadata generation", "spec replicas", "status"}},
		{key: "pods/kube-system/coredns-*", reason: "replaced by the roll-out", ignore: all},
		{key: "endpointslices/kube-system/kube-dns-*", reason: "CoreDNS has other pods", ignore: []string{
			managedFields, "metadata generation", "metadata annotations endpoints.kubernetes.io/last-change-trigger-time", "endpoints",
		}},
		{key: "services/endpoints/kube-system/kube-dns", reason: "CoreDNS has other pods", ignore: []string{
			managedFields, "metadata annotations endpoints.kubernetes.io/last-change-trigger-time", "subsets",
		}},
	}
}

// allowed adds to a list what may differ besides where hosts lose their power:
// the pods of such a host end, and are started again.
func (s *scenario) allowed(list []exception) []exception {
	if !s.powerCuts {
		return list
	}
	const reason, changed = "a host that lost its power took pods with it", "metadata annotations endpoints.kubernetes.io/last-change-trigger-time"
	return append([]exception{
		{key: "pods/e2e/*", reason: reason, ignore: []string{managedFields, "status"}},
		{key: "replicasets/e2e/*", reason: reason, ignore: []string{managedFields, "status"}},
		{key: "deployments/e2e/*", reason: reason, ignore: []string{managedFields, "status"}},
		{key: "endpointslices/e2e/*", reason: reason, ignore: []string{managedFields, "metadata generation", changed, "endpoints"}},
		{key: "services/endpoints/e2e/*", reason: reason, ignore: []string{managedFields, changed, "subsets"}},
	}, list...)
}
