// Package phases is what the three phases share: the read and change handles
// their steps get (Reader and Writer), how the hosts, the API servers and the
// etcd members are reached, and the invariants between any two steps.
//
// Each phase is a package of its own below this one; phase.go there lists the
// steps in order, and every step is a file named after it.
package phases

import (
	"context"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"

	"k8s.io/client-go/rest"
)

// Step and Phase are the engine's, over the handles of this package.
type (
	Step  = migrate.Step[Reader, Writer]
	Phase = migrate.Phase[Reader, Writer]
)

// AdminConf is the first control-plane node's admin kubeconfig.
const AdminConf = "/etc/kubernetes/admin.conf"

// Hosts gives connections to hosts; sshhost.Pool is one.
type Hosts interface {
	Host(context.Context, cluster.Host) (remote.Host, error)
}

// Access is one run's connections to the real cluster, in parts: each has what one
// concern remembers, and a lock of its own. It implements migrate.Env.
type Access struct {
	spec  cluster.Spec
	hosts Hosts

	workers   foundWorkers
	api       apiServers
	etcd      etcdConnections
	files     fileCache
	preImages preImageStore
	ready     readyNodes
	asked     asked
	pods      podNetwork
	operator  operator
	turns     turns
	waiting   waitingTime
}

// NewAccess makes an Access; it connects to a host when a step first needs it.
func NewAccess(spec cluster.Spec, hosts Hosts) *Access {
	return &Access{spec: spec, hosts: hosts, turns: turns{one: make(chan struct{}, 1)},
		api:   apiServers{configs: map[string]*rest.Config{}, clients: map[string]kube.Client{}},
		files: fileCache{sums: map[string]hashed{}, contents: map[string][]byte{}},
		ready: readyNodes{before: map[string]bool{}}, asked: asked{memos: map[any]any{}}}
}

// Close closes the etcd connections; the host connections belong to Hosts.
func (w *Access) Close() error { return w.etcd.close() }

// Reader and Writer bind a step's handles to a target.
func (w *Access) Reader(target string) Reader { return Reader{access: w, target: target} }

// Writer binds the changing handles to a target.
func (w *Access) Writer(target string) Writer { return Writer{Reader: w.Reader(target)} }
