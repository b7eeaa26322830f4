package nodeprobe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hamigrate/migrate/remote/remotetest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// node is a host whose agent's socket is a real one of this machine.
type node struct {
	*remotetest.Fake
	socket string
}

func newNode(t *testing.T, name string) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "np") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &node{Fake: remotetest.New(name), socket: filepath.Join(dir, "s")}
}

func (n *node) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "unix" || address != socket {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	if err := n.Faults.Alive(); err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, network, n.socket)
}

// fakeCluster is nodes with a kubelet that runs our pods, in front of
// client-go's fake of the API.
type fakeCluster struct {
	t       *testing.T
	api     *fake.Clientset
	probed  *fakeAPI // what the agents probe
	nodes   map[string]*node
	program string // the operator's program: a file
	content string // of it

	// stuck: a deleted namespace stays. ends: pods end as soon as they run.
	// lingers: agents of deleted pods go on for a second, and new ones take
	// half of that to come up.
	stuck, ends, lingers atomic.Bool

	mu   sync.Mutex
	runs map[string]*running // by pod
	made []*corev1.Pod
}

func newFakeCluster(t *testing.T, nodes ...string) *fakeCluster {
	t.Helper()
	c := &fakeCluster{t: t, api: fake.NewClientset(), probed: newFakeAPI(t), nodes: map[string]*node{},
		program: filepath.Join(t.TempDir(), "migrate"), runs: map[string]*running{}}
	c.build("the program")
	for _, name := range nodes {
		c.nodes[name] = c.newNode(name)
	}
	c.api.PrependReactor("list", "pods", c.listPods)
	c.api.PrependReactor("create", "pods", c.createPod)
	c.api.PrependReactor("delete", "pods", c.deletePod)
	c.api.PrependReactor("delete", "namespaces", c.deleteNamespace)
	return c
}

// build makes the operator's program another one.
func (c *fakeCluster) build(content string) {
	c.content = content
	if err := os.WriteFile(c.program, []byte(content), 0o700); err != nil {
		c.t.Fatal(err)
	}
}

// newNode is a node with a system pod, and one that ended.
func (c *fakeCluster) newNode(name string) *node {
	n := newNode(c.t, name)
	n.OnRun("^uname -sm; sha256sum", func(string, []byte) (string, error) {
		out := "Linux x86_64\n"
		if f, ok := n.Snapshot()[program]; ok {
			sum := sha256.Sum256(f.Data)
			out += hex.EncodeToString(sum[:]) + "  " + program + "\n"
		}
		return out, nil
	})
	n.OnRun("^install -d", func(string, []byte) (string, error) {
		n.Folder(programDir)
		n.Folder(socketDir)
		return "", nil
	})
	n.OnRun("^rm -rf", func(script string, _ []byte) (string, error) {
		for _, dir := range []string{programDir, socketDir} {
			if strings.Contains(script, dir) {
				n.Delete(dir)
			}
		}
		return "", nil
	})
	c.addPod("kube-system", "proxy-"+name, name, "registry.example/proxy:"+name, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
	c.addPod("default", "app-"+name, name, "registry.example/app:1", corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
	c.addPod("kube-system", "a-job-"+name, name, "registry.example/job:1", corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}})
	return n
}

func (c *fakeCluster) addPod(namespace, name, on, image string, state corev1.ContainerState) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.PodSpec{NodeName: on, Containers: []corev1.Container{{Name: "c", Image: image}}},
		Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: state}}},
	}
	if err := c.api.Tracker().Add(pod); err != nil {
		c.t.Fatal(err)
	}
}

// config probes from nodes, in their order.
func (c *fakeCluster) config(run string, nodes ...string) Config {
	cfg := Config{Rate: 20, Run: run, Program: c.program, Arguments: []string{"probe-agent"}}
	for _, name := range nodes {
		cfg.Nodes = append(cfg.Nodes, Node{Name: name, Host: c.nodes[name]})
	}
	return cfg
}

// start is Start with the fakes; it must work everywhere.
func (c *fakeCluster) start(cfg Config) *Probes {
	c.t.Helper()
	p, missing := start(c.t.Context(), cfg, c.api)
	for name, err := range missing {
		c.t.Fatalf("no probe on %s: %v", name, err)
	}
	return p
}

func resource(kind string) schema.GroupVersionResource {
	return corev1.SchemeGroupVersion.WithResource(kind)
}

// listPods knows the field selector that the fake does not.
func (c *fakeCluster) listPods(a clienttesting.Action) (bool, runtime.Object, error) {
	object, err := c.api.Tracker().List(resource("pods"), corev1.SchemeGroupVersion.WithKind("Pod"), a.GetNamespace())
	if err != nil {
		return true, nil, err
	}
	on, _ := a.(clienttesting.ListAction).GetListRestrictions().Fields.RequiresExactMatch("spec.nodeName")
	all, list := object.(*corev1.PodList), &corev1.PodList{}
	for _, pod := range all.Items {
		if on == "" || pod.Spec.NodeName == on {
			list.Items = append(list.Items, pod)
		}
	}
	return true, list, nil
}

// createPod does what a kubelet does: the pod's arguments become an agent.
func (c *fakeCluster) createPod(a clienttesting.Action) (bool, runtime.Object, error) {
	pod := a.(clienttesting.CreateAction).GetObject().(*corev1.Pod)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made = append(c.made, pod.DeepCopy())
	if c.ends.Load() {
		pod.Status = corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3}}}}}
		return false, nil, nil
	}
	n := c.nodes[pod.Spec.NodeName]
	if _, ok := n.Snapshot()[program]; !ok {
		c.t.Errorf("a pod on %s without a program", pod.Spec.NodeName)
	}
	cfg := agentOf(c.t, c.probed)
	args := flag.NewFlagSet("agent", flag.ContinueOnError)
	args.SetOutput(io.Discard)
	at := args.String("socket", "", "")
	args.StringVar(&cfg.Namespace, "namespace", "", "")
	args.StringVar(&cfg.Node, "node", "", "")
	args.Float64Var(&cfg.Rate, "rate", 0, "")
	args.StringVar(&cfg.Digest, "digest", "", "")
	args.StringVar(&cfg.Run, "run", "", "")
	command := pod.Spec.Containers[0].Command
	if err := args.Parse(command[2:]); err != nil || *at != socket || command[1] != "probe-agent" {
		c.t.Errorf("the pod's command %q: %v", command, err)
	}
	if c.lingers.Load() {
		time.AfterFunc(500*time.Millisecond, func() { serve(c.t, n, cfg) })
		return false, nil, nil
	}
	c.runs[pod.Name] = serve(c.t, n, cfg)
	return false, nil, nil
}

func (c *fakeCluster) deletePod(a clienttesting.Action) (bool, runtime.Object, error) {
	c.stop(a.(clienttesting.DeleteAction).GetName())
	return false, nil, nil
}

// stop ends a pod's agent, which leaves its socket behind.
func (c *fakeCluster) stop(pod string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.runs[pod]
	delete(c.runs, pod)
	switch {
	case r == nil:
	case c.lingers.Load():
		time.AfterFunc(time.Second, r.cancel)
	default:
		r.cancel()
	}
}

func (c *fakeCluster) deleteNamespace(a clienttesting.Action) (bool, runtime.Object, error) {
	if c.stuck.Load() {
		return true, nil, nil
	}
	for _, pod := range c.pods() {
		c.stop(pod.Name)
		if err := c.api.Tracker().Delete(resource("pods"), Namespace, pod.Name); err != nil {
			c.t.Error(err)
		}
	}
	return false, nil, nil
}

// pods are ours.
func (c *fakeCluster) pods() []corev1.Pod {
	object, err := c.api.Tracker().List(resource("pods"), corev1.SchemeGroupVersion.WithKind("Pod"), Namespace)
	if err != nil {
		c.t.Error(err)
		return nil
	}
	return object.(*corev1.PodList).Items
}

// podsMade is how many pods were made so far.
func (c *fakeCluster) podsMade() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.made)
}
