package preflight

import (
	"slices"

	"hamigrate/migrate"
	"hamigrate/phases/balancer"
)

// The kinds of hosts, with the phases for which a check matters there.

func first(phases ...int) Where         { return Where{migrate.FirstControlPlane, phases} }
func joining(phases ...int) Where       { return Where{migrate.JoiningControlPlanes, phases} }
func etcdHosts(phases ...int) Where     { return Where{migrate.EtcdHosts, phases} }
func balancerHosts(phases ...int) Where { return Where{migrate.LoadBalancers, phases} }
func workers(phases ...int) Where       { return Where{migrate.Workers, phases} }
func wholeCluster(phases ...int) Where  { return Where{migrate.Once, phases} }

const loginName = "Login"

// named is a check by its name.
func named(name string) Check {
	all := Checks()
	return all[slices.IndexFunc(all, func(c Check) bool { return c.Name == name })]
}

// Checks lists all of them. Numbers and names are for ever: people ignore by
// name, and write down what they saw by number.
func Checks() []Check {
	return slices.Concat(hostChecks(), networkChecks(), clusterChecks(), joinChecks(), etcdChecks(), laterChecks(),
		balancerChecks(), manifestChecks(), etcdUseChecks(), fileChecks(), clientChecks())
}

func hostChecks() []Check {
	return []Check{
		{Number: 1, Name: loginName, Title: "Commands run as root on every host",
			Why:    "A host that is not reached, or whose sudo asks for a password, stops a phase in its middle.",
			Remedy: "log in by hand with `ssh USER@ADDRESS sudo -n true` and fix what it says",
			On:     []Where{first(1, 2, 3), joining(3), etcdHosts(2, 3), balancerHosts(1, 2, 3), workers(1, 2)}, Look: login},
		{Number: 2, Name: "ClockSkew", Title: "All clocks agree",
			Why:    "A certificate signed on a node whose clock is ahead is not valid yet on the others, and etcd's leases follow the clock of its leader.",
			Remedy: "set the clock: `timedatectl set-ntp true`, then `chronyc makestep` where chrony runs",
			On:     []Where{wholeCluster(1, 2, 3)}, Look: clockSkew},
		{Number: 3, Name: "DiskSpace", Title: "There is room on /var/lib and /etc",
			Why:    "A full disk stops etcd, and a file that could not be written stops a step half way.",
			Remedy: "make room: `du -xh --max-depth=2 /var/lib | sort -h | tail`",
			On:     []Where{first(1, 2, 3), joining(3), etcdHosts(2), balancerHosts(1), workers(1)}, Look: diskSpace},
		{Number: 4, Name: "DiskSync", Title: "The etcd hosts' disks sync fast",
			Why:    "etcd syncs every write; a disk that takes 100 ms for it loses elections, and with them the API.",
			Remedy: "put /var/lib/etcd-external on a local SSD; `fio --rw=write --ioengine=sync --fdatasync=1 --bs=2300 --size=22m --name=etcd --directory=/var/lib` measures more closely",
			On:     []Where{etcdHosts(2)}, Try: diskSync},
		{Number: 5, Name: "Memory", Title: "There is memory for what is to run",
			Why:    "A second API server runs beside the real one while that restarts; out of memory, the kernel ends either of them.",
			Remedy: "free memory on the host (`ps -eo rss,args --sort=-rss | head`), or give it more",
			On:     []Where{first(2), joining(3), etcdHosts(2)}, Look: memory},
		{Number: 6, Name: "MachineID", Title: "Every node has a machine ID of its own",
			Why:    "Clones with one machine ID take each other for themselves: DHCP gives them one address, and network add-ons one identity.",
			Remedy: "on the clone: `rm /etc/machine-id /var/lib/dbus/machine-id; systemd-machine-id-setup`, then restart it",
			On:     []Where{wholeCluster(1, 2, 3)}, Look: machineID},
		{Number: 7, Name: "Swap", Title: "No swap on the joining nodes",
			Why:    "A kubelet does not start with swap on, unless its configuration allows it.",
			Remedy: "`swapoff -a`, and take its line out of /etc/fstab; or set failSwapOn: false in a patch for the kubelet",
			On:     []Where{joining(3)}, Look: swap},
		{Number: 8, Name: "Inotify", Title: "The joining nodes have inotify instances left",
			Why:    "A kubelet that gets none dies of \"too many open files\", and kubeadm join hangs for minutes.",
			Remedy: "`sysctl -w fs.inotify.max_user_instances=8192 fs.inotify.max_user_watches=524288`, and write it to /etc/sysctl.d",
			On:     []Where{joining(3)}, Look: inotify},
	}
}

func networkChecks() []Check {
	return []Check{
		{Number: 9, Name: "Addresses", Title: "Every host has the address that the spec gives it",
			Why:    "etcd and the API server listen on the spec's address, and the others connect to it.",
			Remedy: "write the address that `ip -4 addr` shows into the spec; another way in for SSH goes into the host's ssh.address",
			On:     []Where{first(1, 2, 3), joining(3), etcdHosts(2), balancerHosts(1), workers(1)}, Look: hostAddresses},
		{Number: 10, Name: "EndpointName", Title: "The endpoint's name means the same on every node",
			Why:    "A kubelet that is pointed to a name which it cannot resolve, or resolves to something else, loses the API.",
			Remedy: "make `getent ahostsv4 NAME` print the load balancer's address on every node: in DNS, or in /etc/hosts",
			On:     []Where{wholeCluster(1, 2, 3)}, Look: endpointName},
		{Number: 11, Name: "EndpointReached", Title: "The endpoint leads to the API server from every node",
			Why:    "A node that cannot reach the load balancer cannot join; from a node behind it, the connection comes back to itself, which some balancers do not do.",
			Remedy: "from the node: `curl -vk https://ENDPOINT/readyz`; open the port, or let the balancer do hairpin connections",
			On:     []Where{first(1, 2, 3), joining(3), workers(1, 2)}, Look: endpointReached, Limit: balancer.CarriedLimit},
		{Number: 12, Name: "Ports", Title: "The ports between the hosts are open",
			Why:    "A firewall between two hosts shows itself in the middle of a phase: a learner that never catches up, a node that never joins.",
			Remedy: "open the port from the one to the other, in the hosts' firewall (`nft list ruleset`) and in the provider's",
			On:     []Where{wholeCluster(1, 2, 3)}, Try: ports},
		{Number: 13, Name: "Proxy", Title: "New hosts are not asked for through a proxy",
			Why:    "A component with HTTPS_PROXY and without the new hosts in NO_PROXY sends what is for them to the proxy.",
			Remedy: "add the endpoint and the new hosts to NO_PROXY, in the static pods' manifests and with `systemctl edit kubelet`",
			On:     []Where{first(1, 2, 3), joining(3), workers(1)}, Look: proxies},
	}
}

func clusterChecks() []Check {
	return []Check{
		{Number: 14, Name: "Versions", Title: "Kubernetes, kubelets and kubeadm are of versions that go together",
			Why:    "kubeadm joins only what has its own minor version, and a kubelet may not be newer than the API server it talks to.",
			Remedy: "install the cluster's version: `apt-get install kubeadm=VERSION kubelet=VERSION`",
			On:     []Where{wholeCluster(1, 2, 3)}, Look: versions},
		{Number: 15, Name: "Certificates", Title: "No certificate ends soon",
			Why:    "A program that is restarted with an expired certificate does not come back.",
			Remedy: "on a control-plane node: `kubeadm certs renew all`, then restart the static pods; on an etcd host: `migrate certs renew`",
			On:     []Where{first(1, 2, 3), joining(3), etcdHosts(2, 3), workers(1)}, Look: certificates},
		{Number: 16, Name: "CAKey", Title: "The CAs' keys are on the first control-plane node",
			Why:    "New certificates are signed there; with keys that are kept elsewhere kubeadm cannot sign.",
			Remedy: "put the key back for the time of the migration, readable by root alone; where an external CA signs, this version cannot migrate",
			On:     []Where{first(1, 2, 3)}, Look: caKey},
		{Number: 17, Name: "StrayManifests", Title: "Nothing stray lies in the manifests folder",
			Why:    "The kubelet runs every file there whose name does not begin with a dot, a forgotten copy as well, and it may win over the real one.",
			Remedy: "move it away, not to another name in that folder: `mv /etc/kubernetes/manifests/FILE $HOME/`",
			On:     []Where{first(1, 2, 3), joining(3)}, Look: strayManifests},
		{Number: 18, Name: "AnonymousAuth", Title: "The API server answers the kubelet's probes",
			Why:    "The probes that kubeadm writes ask as nobody: an API server that answers 401 or 403 to them is killed and started again for ever. The join itself asks with its token.",
			Remedy: "let the probes in and nobody else: in place of --anonymous-auth=false give --authentication-config a file with `anonymous: {enabled: true, conditions: [{path: /livez}, {path: /readyz}, {path: /healthz}]}` (Kubernetes 1.32 and newer), or change all three probes in spec.controlPlane.join.patches",
			On:     []Where{first(3)}, Look: anonymousAuth},
		{Number: 19, Name: "EgressSelector", Title: "No egress selector is in use",
			Why:    "Konnectivity's servers count each other: with more API servers, their --server-count must follow, or logs and exec fail now and then.",
			Remedy: "after phase 3 run a konnectivity server on each control-plane node, and set --server-count to their number",
			On:     []Where{first(3)}, Look: egressSelector},
	}
}

func joinChecks() []Check {
	return []Check{
		{Number: 20, Name: "ContainerRuntime", Title: "The joining nodes have the first node's container runtime",
			Why:    "The joining kubelet is told the socket that the first node's kubelet uses, and one with another cgroup driver than its runtime kills pods under load.",
			Remedy: "give it the first node's cgroup driver: SystemdCgroup in /etc/containerd/config.toml, or cgroup_manager in /etc/crio",
			On:     []Where{joining(3)}, Look: runtime},
		{Number: 21, Name: "Images", Title: "The joining nodes have the control plane's images",
			Why:    "An image that is missing is pulled while the node joins, and without a registry the join fails half way.",
			Remedy: "`kubeadm config images pull --kubernetes-version VERSION` on the node, or `ctr -n k8s.io images import` without a registry",
			On:     []Where{joining(3)}, Look: images},
		{Number: 22, Name: "HostFiles", Title: "What the control plane mounts from its host can be carried along",
			Why:    "An API server without the same audit policy does not start, and without the same encryption key it cannot read Secrets.",
			Remedy: "look at what differs on the joining node; phase 3 keeps a copy of it in /var/lib/migrate/backup and replaces it",
			On:     []Where{joining(3)}, Look: hostFiles},
	}
}

func etcdChecks() []Check {
	return []Check{
		{Number: 23, Name: "EtcdAlarms", Title: "etcd has raised no alarm",
			Why:    "With NOSPACE etcd takes no writes, and CORRUPT means that members hold different data: neither is a time to add members.",
			Remedy: "NOSPACE: compact, `etcdctl defrag`, then `etcdctl alarm disarm`; CORRUPT: see https://etcd.io/docs/v3.6/op-guide/data_corruption/",
			On:     []Where{wholeCluster(1, 2, 3)}, Look: etcdAlarms},
		{Number: 24, Name: "EtcdVersion", Title: "etcd is of a patch version without bugs in its membership",
			Why:    "Some patch versions lose the promotion of a learner, bring removed members back, or do not start again after a promotion.",
			Remedy: "change the image in /etc/kubernetes/manifests/etcd.yaml to the newest patch of the same minor version, as a change of its own, before phase 2",
			On:     []Where{wholeCluster(2)}, Look: etcdVersion},
		{Number: 25, Name: "EtcdSize", Title: "etcd's database is well below its quota",
			Why:    "At its quota etcd raises NOSPACE and takes no more writes; and every new member is sent the whole database.",
			Remedy: "`etcdctl defrag` (it blocks etcd while it lasts, some 4 s a GB), or raise --quota-backend-bytes",
			On:     []Where{wholeCluster(2)}, Look: etcdSize},
		{Number: 26, Name: "EtcdServersOverrides", Title: "All resources are in the one etcd",
			Why:    "--etcd-servers-overrides keeps some elsewhere, and this tool moves one etcd.",
			Remedy: "move those resources to the main etcd first, and remove the flag",
			On:     []Where{first(2, 3)}, Look: etcdServersOverrides},
		{Number: 27, Name: "EtcdHosts", Title: "The etcd hosts can run the cluster's etcd",
			Why:    "The program is copied from the first control-plane node, byte for byte: another machine architecture cannot run it, and a taken port keeps it from starting.",
			Remedy: "take hosts of the same architecture with ports 2379 and 2380 free: `ss -ltnp 'sport = :2379 or sport = :2380'`",
			On:     []Where{etcdHosts(2)}, Look: etcdHost},
	}
}

// laterChecks came after the others, whose numbers stay. Workers matter on the
// way back of phase 3, and are looked at with phase 2: one that is off is no
// reason not to do phase 3.
func laterChecks() []Check {
	return []Check{
		{Number: 28, Name: "Conntrack", Title: "The nodes can delete conntrack entries",
			Why:    "For 10 s a node's kernel sends who uses the port of a reset connection again to the API server that has reset it, also when that is away: while it restarts (overlap), or when its node leaves during the rollback of phase 3. migrate deletes such entries with the tool conntrack.",
			Remedy: "`apt-get install conntrack`, or `dnf install conntrack-tools`; without it a request in many thousands may be refused",
			On:     []Where{first(2, 3), joining(3), workers(2)}, Look: conntrack},
	}
}
