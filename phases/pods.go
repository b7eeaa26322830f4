package phases

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// ErrNoPod means that a pod can't be reached to connect from: that says nothing
// about the API.
var ErrNoPod = errors.New("the pod to connect from is not reached")

// Pods opens connections to the kubernetes Service from pods on nodes, whose
// way there is another one than the nodes' own.
type Pods interface {
	// Nodes lists the nodes on which there is such a pod.
	Nodes() []string
	// Dial connects from the pod on a node to the kubernetes Service. That
	// the pod itself is not reached is ErrNoPod.
	Dial(ctx context.Context, node string) (net.Conn, error)
}

// podNetwork is the way through pods, where there is one.
type podNetwork struct {
	mu  sync.Mutex
	use Pods
}

func (p *podNetwork) get() Pods {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.use
}

// UsePods makes pods another place from which paths are proven; nil takes it
// back. Without it they are proven from the nodes alone.
func (w *Access) UsePods(p Pods) {
	w.pods.mu.Lock()
	defer w.pods.mu.Unlock()
	w.pods.use = p
}

// PodNodes lists the nodes from whose pods the Service can be tried.
func (v Reader) PodNodes() []string {
	pods := v.access.pods.get()
	if pods == nil {
		return nil
	}
	return pods.Nodes()
}

// DialFromPod connects from a pod on a node of PodNodes to the kubernetes
// Service.
func (v Reader) DialFromPod(ctx context.Context, node string) (net.Conn, error) {
	pods := v.access.pods.get()
	if pods == nil || !slices.Contains(pods.Nodes(), node) {
		return nil, fmt.Errorf("dialing from a pod on %s: there is none: %w", node, ErrNoPod)
	}
	return pods.Dial(ctx, node)
}

// PodTrouble says why a pod that is waited for will not get ready unless
// somebody acts, as an error that ends the wait (migrate.Hopeless); nil where it
// may. It is asked again and again while the wait lasts.
func (v Reader) PodTrouble(p corev1.Pod) error { return v.access.asked.troubles.Of(p) }
