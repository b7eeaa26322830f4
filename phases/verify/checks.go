package verify

import (
	"slices"

	"hamigrate/migrate"
	"hamigrate/phases/balancer"
)

const reachedName = "Reached"

// named is a check by its name.
func named(name string) Check {
	all := Checks()
	return all[slices.IndexFunc(all, func(c Check) bool { return c.Name == name })]
}

// Checks lists all of them. Numbers and names are for ever: people write down
// what they saw by number.
func Checks() []Check {
	return slices.Concat(planeChecks(), etcdChecks(), endpointChecks(), clusterChecks())
}

func onPlanes() []migrate.Selector {
	return []migrate.Selector{migrate.FirstControlPlane, migrate.JoiningControlPlanes}
}

func onNodes() []migrate.Selector { return append(onPlanes(), migrate.Workers) }

func onCluster() []migrate.Selector { return []migrate.Selector{migrate.Once} }

func planeChecks() []Check {
	return []Check{
		{Number: 1, Name: reachedName, Title: "Every host is reached",
			Why:    "What is not reached is not known to work.",
			Remedy: "log in by hand with `ssh USER@ADDRESS sudo -n true` and fix what it says",
			On:     append(roles(), migrate.Once)},
		{Number: 2, Name: "ControlPlaneNodes", Title: "Every control-plane node of the spec is Ready",
			Why:    "Of three control-plane nodes one may be lost; each that is away already is that one.",
			Remedy: "`kubectl describe node NAME` says why, `journalctl -u kubelet` on it the rest",
			On:     onPlanes(), Look: controlPlaneNode},
		{Number: 3, Name: "APIServers", Title: "Every API server is ready and serves this one cluster",
			Why:    "The load balancer sends clients to each of them, and one that is not ready answers with errors.",
			Remedy: "`curl -k https://ADDRESS:6443/readyz?verbose` on the node names what fails",
			On:     onPlanes(), Look: apiServer},
		{Number: 4, Name: "APIServerEtcd", Title: "Every API server runs with all members",
			Why:    "One that knows a single member has no etcd when that one is away, while the others go on.",
			Remedy: "set --etcd-servers in the node's kube-apiserver.yaml to all members, one node after the other",
			On:     onPlanes(), Look: apiServerEtcd},
		{Number: 5, Name: "ServingCertificate", Title: "Every API server shows a certificate for all its names",
			Why:    "Clients come through the load balancer to any of them, and a name that one lacks fails every third connection.",
			Remedy: "add the name to certSANs in kubeadm-config, move the node's apiserver.crt and .key away and run `kubeadm init phase certs apiserver` with that configuration",
			On:     onPlanes(), Look: servingCertificate},
		{Number: 6, Name: "NoEtcdOnControlPlane", Title: "No etcd of kubeadm's is on a control-plane node",
			Why:    "A manifest that comes back starts a member with old data, or a cluster of its own.",
			Remedy: "look with `migrate plan --phase 2` before you move anything",
			On:     onPlanes(), Look: noEtcd},
	}
}

func etcdChecks() []Check {
	return []Check{
		{Number: 7, Name: "EtcdMembers", Title: "etcd has one voter on each etcd host, and no other member",
			Why:    "Of three voters one may be lost; a member that does not answer, or one more that nobody knows of, uses that up.",
			Remedy: "`systemctl status etcd` and `journalctl -u etcd` on the host that is named",
			On:     onCluster(), Look: etcdMembers},
		{Number: 8, Name: "EtcdData", Title: "All members hold the same data",
			Why:    "Members that differ answer the same question in two ways, depending on who is asked.",
			Remedy: "stop and make a backup of each member before anything else: https://etcd.io/docs/v3.6/op-guide/data_corruption/",
			On:     onCluster(), Limit: hashLimit, Look: etcdData},
		{Number: 9, Name: "EtcdService", Title: "etcd runs as a service that comes back after a restart",
			Why:    "A member that is not enabled is gone with the next reboot of its host.",
			Remedy: "`systemctl enable --now etcd` on the host",
			On:     []migrate.Selector{migrate.EtcdHosts}, Look: etcdService},
		{Number: 10, Name: "EtcdCertificates", Title: "Each member shows the certificates in its files, which are valid for three weeks yet",
			Why:    "kubeadm does not renew them any more, and with two expired ones the quorum is gone.",
			Remedy: "`migrate certs` shows when they end, `migrate certs renew` renews them",
			On:     []migrate.Selector{migrate.EtcdHosts}, Look: etcdCertificates},
	}
}

func endpointChecks() []Check {
	return []Check{
		{Number: 11, Name: "LoadBalancers", Title: "Each load balancer forwards to every API server, and has loaded that",
			Why:    "One that knows a single API server takes the endpoint down with it.",
			Remedy: "`migrate plan --phase 3` shows what is missing, `migrate run --phase 3` adds it",
			On:     []migrate.Selector{migrate.LoadBalancers}, Look: loadBalancer},
		{Number: 12, Name: "Spread", Title: "Connections through the endpoint meet every API server",
			Why:    "What no connection ever meets is not behind the endpoint, whatever a file says.",
			Remedy: "look at the load balancer's log, and whether its host reaches port 6443 of each control-plane node",
			On:     onCluster(), Look: spread},
		{Number: 13, Name: "Endpoint", Title: "Every node reaches the API through the endpoint",
			Why:    "A node that does not, loses its place in the cluster with the first control-plane node at the latest.",
			Remedy: "open the endpoint's port from that node, and see that it resolves the endpoint's name: `curl -k https://ENDPOINT/readyz`",
			On:     onNodes(), Limit: balancer.CarriedLimit, Look: endpoint},
		{Number: 14, Name: "Kubelets", Title: "No kubelet depends on another node's API server",
			Why:    "A kubelet that talks to one machine only is NotReady 50 s after that machine is lost.",
			Remedy: "set `server:` in /etc/kubernetes/kubelet.conf to the endpoint and restart the kubelet",
			On:     onNodes(), Look: kubelet},
		{Number: 15, Name: "Kubeconfigs", Title: "No kubeconfig of the control plane names another single node",
			Why:    "The file that is used when things break must not name the machine that broke.",
			Remedy: "set its `server:` to the endpoint, and restart the static pod that uses it",
			On:     onPlanes(), Look: kubeconfigs},
	}
}

func clusterChecks() []Check {
	return []Check{
		{Number: 16, Name: "ClusterInfo", Title: "cluster-info names the endpoint and is signed",
			Why:    "A node that joins believes it.",
			Remedy: "`migrate run --phase 1` sets it",
			On:     onCluster(), Look: clusterInfo},
		{Number: 17, Name: "KubeProxy", Title: "kube-proxy uses the endpoint on every node",
			Why:    "Where it does not, Services stop changing with the loss of one node.",
			Remedy: "`migrate run --phase 1` sets it and rolls it out; `kubectl -n kube-system get pods -l k8s-app=kube-proxy -o wide` shows a pod that is not Ready",
			On:     onCluster(), Look: kubeProxy},
		{Number: 18, Name: "KubeadmConfig", Title: "kubeadm-config names the endpoint and the members",
			Why:    "The next `kubeadm upgrade` or `join` makes of the cluster what stands there.",
			Remedy: "`kubectl -n kube-system edit cm kubeadm-config`: controlPlaneEndpoint and etcd.external",
			On:     onCluster(), Look: kubeadmConfig},
		{Number: 19, Name: "CoreDNS", Title: "CoreDNS runs on more than one node",
			Why:    "With all its pods on one node, the loss of that is an outage of all names.",
			Remedy: "`kubectl -n kube-system rollout restart deployment coredns`",
			On:     onCluster(), Look: coreDNS},
		{Number: 20, Name: "KubernetesService", Title: "The kubernetes Service leads to every API server, and nowhere else",
			Why:    "Pods reach the API by it, and an address behind which nothing is fails every n-th connection.",
			Remedy: "`kubectl get endpointslices kubernetes`: each API server enters itself, and one that is gone is taken out after 15 s",
			On:     onCluster(), Look: kubernetesService},
		{Number: 21, Name: "Leftovers", Title: "Nothing is left that was there for the time of the migration",
			Why:    "A second API server or uploaded certificates are of use to nobody but an intruder.",
			Remedy: "`migrate status` says which step is not finished, `migrate run` finishes it",
			On:     onPlanes(), Look: leftovers},
		{Number: 22, Name: "EtcdClientCertificate", Title: "Each API server has a client certificate for etcd that is valid for three weeks yet",
			Why:    "kubeadm does not renew it any more, and with an expired one an API server reaches no member.",
			Remedy: "`migrate certs` shows when it ends, `migrate certs renew` renews it",
			On:     onPlanes(), Look: etcdClientCertificate},
		{Number: 23, Name: "SameComponents", Title: "Every control-plane node runs the same control plane",
			Why:    "With other flags on one node, one request or one leader in three behaves otherwise.",
			Remedy: "give every node the same flags, and kubeadm-config, too: the next `kubeadm upgrade` makes the manifests from it",
			On:     []migrate.Selector{migrate.JoiningControlPlanes}, Look: components},
		{Number: 24, Name: "CIS", Title: "Files and arguments of the migration's pass the CIS benchmark",
			Why:    "A key that others on the host can read, or an etcd that asks for no certificate, gives the cluster away.",
			Remedy: "set mode, owner or argument to what the item wants",
			On:     append(onNodes(), migrate.EtcdHosts), Look: cis},
	}
}
