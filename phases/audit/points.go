package audit

import "slices"

// Points lists all of them. Numbers and names are for ever: people write down
// what they saw by number.
func Points() []Point {
	return slices.Concat(controlPlanePoints(), runningPoints(), namedPoints(), etcdPoints())
}

const untilBack = "until it is back: the time to repair or replace one machine"

func controlPlanePoints() []Point {
	return []Point{
		{Number: 1, Name: "APIServer", Title: "The API server",
			Loss:   "Nothing is deployed, scheduled, scaled or healed, kubectl and every operator get errors, and what reads the API to do its work stops. Pods that run go on running, and Services go on leading to the pods they led to.",
			Lasts:  untilBack,
			Phases: []int{1, 3}, Look: apiServers},
		{Number: 2, Name: "Etcd", Title: "etcd, which holds everything the API knows",
			Loss:   "The API answers nothing. With the disk the cluster itself is lost: every object since the last backup that somebody has tried to restore.",
			Lasts:  "until its host is back; with the disk lost, until a backup is restored, or for ever where there is none",
			Phases: []int{2}, Otherwise: "keep backups all the same: three members copy a deletion as well (`migrate backup`)", Look: etcdMembers},
		{Number: 3, Name: "ControllerManager", Title: "The controller-manager",
			Loss:   "Nothing is healed: no pod is made again, no node is declared lost, no endpoint is updated, no certificate request is signed.",
			Lasts:  untilBack + "; with another one standing by, some 15 s",
			Phases: []int{3}, Look: component("kube-controller-manager")},
		{Number: 4, Name: "Scheduler", Title: "The scheduler",
			Loss:   "New pods, and those of a lost node, stay Pending.",
			Lasts:  untilBack + "; with another one standing by, some 15 s",
			Phases: []int{3}, Look: component("kube-scheduler")},
		{Number: 5, Name: "LoadBalancer", Title: "The load balancer before the API servers",
			Loss:      "Everybody who comes through the endpoint has no API, although all API servers run: kubectl, kube-proxy, and the kubelets of the workers, which are NotReady after 40 to 50 s. Some five minutes later the pods on them may be evicted, by a control plane that is well.",
			Lasts:     untilBack + ", or until the endpoint's address is moved to another load balancer by hand",
			Otherwise: "two load balancers with an address that moves between them (keepalived, VRRP), or a redundant one that you have; until then keep the second one configured and know how to move the address", Look: loadBalancer},
	}
}

func runningPoints() []Point {
	return []Point{
		{Number: 6, Name: "CoreDNS", Title: "CoreDNS",
			Loss:   "No pod resolves any name, of the cluster or outside, while everything seems to run.",
			Lasts:  "until its pods run on another node: five to six minutes where a controller-manager is there to notice, else until the node is back",
			Phases: []int{3}, Look: coreDNS},
		{Number: 7, Name: "PinnedWorkloads", Title: "Workloads with one replica on a control-plane node",
			Loss:      "They are away.",
			Lasts:     "five to six minutes, until they run on another node; for as long as the node is away where they are tied to it, or where nothing makes them again",
			Otherwise: "two replicas, spread over nodes (topologySpreadConstraints), and no nodeSelector that names one host; the taint of a control-plane node keeps others away", Look: pinned},
		{Number: 8, Name: "Zones", Title: "Zones of the nodes",
			Loss:      "Machines that share a rack, a switch or a power supply are lost together, three control-plane nodes like one.",
			Lasts:     "until that zone is back",
			Otherwise: "put control-plane nodes, etcd hosts and load balancers into three zones, and label the nodes with topology.kubernetes.io/zone, so that workloads can be spread", Look: zones},
	}
}

func namedPoints() []Point {
	const lasts = "as long as that one machine is away, however many API servers there are"
	return []Point{
		{Number: 9, Name: "Kubeconfigs", Title: "Kubeconfigs that name the first control-plane node",
			Loss:   "Whoever uses them has no API; a kubelet among them loses its node after 40 to 50 s.",
			Lasts:  lasts,
			Phases: []int{1}, Otherwise: "copies in home folders, CI systems and on laptops cannot be found from here: give out the new admin.conf, or set their `server:` to the endpoint", Look: kubeconfigs},
		{Number: 10, Name: "ConfigMaps", Title: "ConfigMaps that name the first control-plane node",
			Loss:   "Whoever is configured by them asks one machine: kube-proxy, joining nodes, a network add-on, programs of your own.",
			Lasts:  lasts,
			Phases: []int{1}, Otherwise: "set the others to the endpoint yourself, and restart what reads them: only you know what they are for", Look: configMaps},
		{Number: 11, Name: "Secrets", Title: "Secrets that name the first control-plane node",
			Loss:      "Whoever is configured by them asks one machine: often a kubeconfig for CI or for another cluster.",
			Lasts:     lasts,
			Otherwise: "put the endpoint into them yourself; this program reads no more of them than which keys name the address", Look: secrets},
		{Number: 12, Name: "CNI", Title: "Settings of the pod network on the nodes that name the first control-plane node",
			Loss:      "No pod gets a network on these nodes: new pods hang in ContainerCreating.",
			Lasts:     lasts,
			Otherwise: "set the network add-on to the endpoint as its manual says (Cilium: k8sServiceHost; Calico: the ConfigMap kubernetes-services-endpoint)", Look: cniFiles},
		{Number: 13, Name: "WorkloadSettings", Title: "DaemonSets, Deployments and StatefulSets that name the first control-plane node",
			Loss:      "Their pods ask one machine; a network add-on among them takes the pods of its node along.",
			Lasts:     lasts,
			Otherwise: "set their variables and arguments to the endpoint, or let them use the kubernetes Service", Look: workloadSettings},
		{Number: 14, Name: "APIAddress", Title: "Programs that are told to use the first control-plane node's API server, by address or by name",
			Loss:      "They lose the API with that machine; a network add-on among them (Calico without kube-proxy, Cilium, kube-router, flannel) takes the Services and pods of every node along when it restarts.",
			Lasts:     lasts,
			Otherwise: "after phase 1 set them to the endpoint, and restart the pods that read it when they start (Calico: the ConfigMap kubernetes-services-endpoint; Cilium: k8sServiceHost)", Look: apiAddresses},
	}
}

func etcdPoints() []Point {
	return []Point{
		{Number: 15, Name: "EtcdClients", Title: "Who else uses the etcd of the first control-plane node",
			Loss:      "They have no etcd: a backup saves nothing, an alert falls silent, a pod network that keeps its data there stands still.",
			Lasts:     "as long as that one machine is away; and for ever from the end of phase 2 on, when that etcd is gone",
			Otherwise: "with phase 2, point clients to port 2379 of the etcd hosts, with a certificate of etcd's CA, and let metrics be scraped there: a listener that is reachable on the old member is made on each new one, with the same port", Look: etcdClients},
	}
}
