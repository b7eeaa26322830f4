package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// failover bounds how long the API may be away when a host dies: an etcd
	// election, or the load balancer finding out.
	failover = time.Minute
	// answers is how many reads and writes in a row must then pass, each on
	// a connection of its own.
	answers = 20
	// evacuation bounds how long it takes until nothing is sent to the pods
	// of a dead node any more: Kubernetes takes a node for dead after 50 s.
	evacuation = 3 * time.Minute
)

// readWrite writes an object and reads it back.
func readWrite(ctx context.Context, c kubernetes.Interface, name string) error {
	maps := c.CoreV1().ConfigMaps(namespace)
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-", Namespace: namespace}}
	made, err := maps.Create(ctx, cm, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if _, err := maps.Get(ctx, made.Name, metav1.GetOptions{}); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	return nil
}

// survives checks that the API is back within failover and then answers every
// time.
func survives(t *testing.T, c kubernetes.Interface, name string) {
	t.Helper()
	off := time.Now()
	if err := poll(t.Context(), failover, func(ctx context.Context) error { return readWrite(ctx, c, name) }); err != nil {
		t.Fatalf("reading and writing: %v", err)
	}
	t.Logf("the API answered after %.1f s", time.Since(off).Seconds())
	for i := range answers {
		if err := readWrite(soon(t), c, name); err != nil {
			t.Errorf("request %d of %d after that: %v", i+1, answers, err)
		}
	}
}

// oneEtcdHostOff cuts the power of the member that leads.
func oneEtcdHostOff(t *testing.T, s *scenario) {
	members := s.pg.members(t)
	leader := ""
	for name, c := range members {
		status, err := c.Status(soon(t), c.Endpoints()[0])
		if err != nil {
			t.Fatal(err)
		}
		if status.Leader == status.Header.MemberId {
			leader = name
		}
	}
	if leader == "" {
		t.Fatal("no member says that it leads")
	}
	s.pg.stop(t, leader)
	defer s.pg.start(t, leader)
	for _, name := range controlPlanes() {
		survives(t, s.pg.kube(t, s.pg.api(name)), "etcd-off")
	}
}

// firstControlPlaneOff cuts the power of the host that once was everything.
func firstControlPlaneOff(t *testing.T, s *scenario) {
	off := time.Now()
	s.pg.stop(t, "cp1")
	defer s.pg.start(t, "cp1")
	c := s.pg.kubeAnew(t, s.pg.endpoint())
	survives(t, c, "cp1-off")

	// Somebody schedules and controls, too.
	d := workload("made-without-cp1", kubeProxyImage(t, c), 1, "exec sleep infinity")
	if _, err := c.AppsV1().Deployments(namespace).Create(soon(t), d, metav1.CreateOptions{}); err != nil {
		t.Fatalf("making a Deployment: %v", err)
	}
	eventually(t, evacuation, "the pod of a Deployment made while cp1 is off", func(ctx context.Context) error {
		return deploymentReady(ctx, c, namespace, d.Name)
	})
	eventually(t, evacuation, "a pod on a worker to resolve names", func(ctx context.Context) error {
		return resolves(ctx, c, off)
	})
}

// resolves reads the log of the pod that asks for a name each second: the
// last ten answers are to be right.
func resolves(ctx context.Context, c *kubernetes.Clientset, after time.Time) error {
	const wanted = 10
	pods, err := podsOf(ctx, c, namespace, "app=resolver")
	if err != nil {
		return err
	}
	if len(pods) != 1 || !slices.Contains(append(workers(), "w3"), pods[0].Spec.NodeName) {
		return fmt.Errorf("there are %d pods that resolve names, not one on a worker", len(pods))
	}
	log, err := c.CoreV1().Pods(namespace).GetLogs(pods[0].Name, &corev1.PodLogOptions{SinceTime: &metav1.Time{Time: after}}).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("reading the log of %s: %w", pods[0].Name, err)
	}
	var lines []string
	for scanner := bufio.NewScanner(bytes.NewReader(log)); scanner.Scan(); {
		lines = append(lines, scanner.Text())
	}
	last := lines[max(0, len(lines)-wanted):]
	for _, line := range last {
		if fields := strings.Fields(line); len(fields) < 2 || fields[0] != "ok" || fields[1] != serviceAddress {
			return fmt.Errorf("of the last %d lookups one had the answer %q", len(last), line)
		}
	}
	if len(last) < wanted {
		return fmt.Errorf("there were only %d lookups", len(last))
	}
	return nil
}

// allIsBack: the hosts that were off come back by themselves.
func allIsBack(t *testing.T, s *scenario) {
	c := s.pg.kube(t, s.pg.endpoint())
	eventually(t, 3*time.Minute, "cp1 to be Ready again", func(ctx context.Context) error {
		if err := readyz(ctx, s.pg.kubeAnew(t, s.pg.api("cp1"))); err != nil {
			return err
		}
		return nodeReady(ctx, c, "cp1")
	})
	members := s.pg.members(t)
	eventually(t, 2*time.Minute, "all members to have one history again", func(ctx context.Context) error {
		return sameHistory(ctx, members, s.before.registry.cluster)
	})
	noEtcdOnControlPlane(t, s)
	for _, name := range controlPlanes() {
		if err := readThrough(soon(t), s, s.pg.kube(t, s.pg.api(name)), "through-cp1"); err != nil {
			t.Errorf("through the API server of %s: %v", name, err)
		}
	}
}
