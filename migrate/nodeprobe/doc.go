// Package nodeprobe measures what pods see of the Kubernetes API while it is
// migrated: this very program runs on nodes, in a pod's network, and probes
// the kubernetes Service from there.
//
// That is not the same as a connection opened on the node: a pod's packets
// arrive at the node, pass its forwarding rules and kube-proxy's, and on the
// control-plane node those of an overlap's redirect.
//
// On each node:
//
//	/var/lib/migrate/probe/migrate     a copy of this program
//	/run/migrate-probe/agent.sock      where the pod listens (Serve)
//
// (the socket's folder is open to root and to the SSH user's group: whoever
// reaches the socket can end the measurement), and in the cluster a namespace with one pod a node, bound to it by name. The
// pod uses an image that is on the node already, so nothing is pulled; its
// token is the one that the kubelet projects, valid for an hour and renewed.
//
// The operator's side (Start) talks to the pods through SSH and the socket,
// not through the API that is being measured. Samples stay in the pod's
// memory until they are asked for: a cut SSH connection loses none, and
// neither does the death of the operator's program, whose successor finds the
// pods still probing and goes on with them. An agent that nobody asks for
// half an hour stops probing, and keeps its figures for a day.
package nodeprobe
