package nodeprobe

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate/probe"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clienttesting "k8s.io/client-go/testing"
)

func TestFirstStart(t *testing.T) {
	t.Parallel()
	c := newFakeCluster(t, "cp1", "w1")
	p := c.start(c.config("r1", "cp1", "w1"))
	if got := p.Nodes(); !slices.Equal(got, []string{"cp1", "w1"}) {
		t.Errorf("probes on %v", got)
	}

	ctx, core, rbac := t.Context(), c.api.CoreV1(), c.api.RbacV1()
	ns, err := core.Namespaces().Get(ctx, Namespace, metav1.GetOptions{})
	if err != nil || ns.Labels[managedByLabel] != managedBy || ns.Labels["pod-security.kubernetes.io/enforce"] != "privileged" {
		t.Errorf("namespace %+v, %v", ns, err)
	}
	if _, err := core.ServiceAccounts(Namespace).Get(ctx, account, metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	role, err := rbac.Roles(Namespace).Get(ctx, account, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "watch", "create", "update", "delete"}}}
	if diff := cmp.Diff(want, role.Rules); diff != "" {
		t.Errorf("the account's rights (-want +got):\n%s", diff)
	}
	binding, err := rbac.RoleBindings(Namespace).Get(ctx, account, metav1.GetOptions{})
	if err != nil || binding.RoleRef.Kind != "Role" || binding.RoleRef.Name != role.Name || len(binding.Subjects) != 1 ||
		binding.Subjects[0].Name != account || binding.Subjects[0].Namespace != Namespace {
		t.Errorf("binding %+v, %v", binding, err)
	}

	for _, pod := range c.pods() {
		on, container := pod.Spec.NodeName, pod.Spec.Containers[0]
		// The image of the system pod that runs there, not of one that ended.
		if want := "registry.example/proxy:" + on; container.Image != want || container.ImagePullPolicy != corev1.PullNever {
			t.Errorf("on %s: image %s (%s), want %s, never pulled", on, container.Image, container.ImagePullPolicy, want)
		}
		if pod.Spec.ServiceAccountName != account || pod.Spec.RestartPolicy != corev1.RestartPolicyNever || pod.Spec.HostNetwork {
			t.Errorf("on %s: %+v", on, pod.Spec)
		}
		for _, m := range container.VolumeMounts {
			if m.Name == "program" && !m.ReadOnly {
				t.Errorf("on %s: the pod can write to %s", on, programDir)
			}
		}
	}
	for name, n := range c.nodes {
		f := n.Snapshot()[program]
		if string(f.Data) != "the program" || f.Mode != 0o700 || f.Owner != "root:root" {
			t.Errorf("on %s: %+v", name, f)
		}
	}
}

func TestDialFromPod(t *testing.T) {
	t.Parallel()
	c := newFakeCluster(t, "w1")
	p := c.start(c.config("r1", "w1"))
	before := c.probed.opened.Load()
	conn, err := p.Dial(t.Context(), "w1")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, "a connection to the Service", func() bool { return c.probed.opened.Load() > before })
	if _, err := p.Dial(t.Context(), "w2"); err == nil || !strings.Contains(err.Error(), "w2") {
		t.Errorf("from a node without a pod: %v", err)
	}
}

// TestSecondStart: the operator's program was killed and runs again.
func TestSecondStart(t *testing.T) {
	t.Parallel()
	c := newFakeCluster(t, "cp1", "w1")
	first := c.start(c.config("r1", "cp1", "w1"))
	before, err := first.Record(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second := c.start(c.config("r1", "cp1", "w1"))
	if n := c.podsMade(); n != 2 {
		t.Errorf("%d pods were made for 2 nodes and 2 starts", n)
	}
	after, err := second.Record(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The keys are the same, so what is kept by key is not counted twice.
	if a, b := slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)); !slices.Equal(a, b) || len(a) != 2 {
		t.Errorf("records %v, then %v", a, b)
	}
	for key := range before {
		if one, two := requests(before[key]), requests(after[key]); two < one {
			t.Errorf("%s: %d requests, then %d", key, one, two)
		}
	}
	if err := second.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if len(c.pods()) != 0 {
		t.Error("pods of the first start are left")
	}
}

// TestPodAsksForNoMoreThanThereIs: with room on the node it gets a share of the
// processor; on a full one it asks for nothing, or it would not be admitted.
func TestPodAsksForNoMoreThanThereIs(t *testing.T) {
	t.Parallel()
	for left, want := range map[string]string{"2": "100m", "300m": "100m", "299m": "0", "-100m": "0"} {
		p := &Probes{cfg: Config{CPULeft: func(_ context.Context, node, except string) (apiresource.Quantity, error) {
			if node != "n1" || except != "probe-n1" {
				t.Errorf("asked for %s but for %s", node, except)
			}
			return apiresource.MustParse(left), nil
		}}}
		got, err := p.room(t.Context(), "n1")
		if err != nil || got.Cpu().String() != want {
			t.Errorf("with %s left the pod asks for %s, want %s, error %v", left, got.Cpu(), want, err)
		}
	}
	unread := &Probes{cfg: Config{CPULeft: func(context.Context, string, string) (apiresource.Quantity, error) {
		return apiresource.Quantity{}, errors.New("no answer")
	}}}
	if got, err := unread.room(t.Context(), "n1"); err == nil {
		t.Errorf("without an answer the pod asks for %v", got)
	}
}

func requests(records ...probe.Record) int { return probe.Results(records...).Requests() }

// TestStartMakesAnew what it can't go on with. The figures of this very run
// are kept, those of another one are not.
func TestStartMakesAnew(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*testing.T, *fakeCluster, *Config)
		keeps  bool
	}{
		"another run": {func(_ *testing.T, _ *fakeCluster, cfg *Config) { cfg.Run = "r2" }, false},
		"another run, still there": {func(_ *testing.T, c *fakeCluster, cfg *Config) {
			cfg.Run = "r2"
			c.lingers.Store(true)
		}, false},
		"another rate":    {func(_ *testing.T, _ *fakeCluster, cfg *Config) { cfg.Rate = 10 }, true},
		"another program": {func(_ *testing.T, c *fakeCluster, _ *Config) { c.build("a newer program") }, true},
		"alone too long": {func(t *testing.T, c *fakeCluster, _ *Config) {
			get[measured](t, newCaller(c.nodes["w1"]), "POST", "/stop")
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeCluster(t, "w1")
			cfg := c.config("r1", "w1")
			first := c.start(cfg)
			awaitProbing(t, first.callers["w1"])
			tt.change(t, c, &cfg)
			old := get[measured](t, first.callers["w1"], "GET", "/record")
			second := c.start(cfg)
			if n := c.podsMade(); n != 2 {
				t.Errorf("%d pods were made, want a new one", n)
			}
			if got := string(c.nodes["w1"].Snapshot()[program].Data); got != c.content {
				t.Errorf("on the node is %q, want %q", got, c.content)
			}
			records, err := second.Stop(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			kept, ok := records["w1/"+old.Instance]
			if ok != tt.keeps || ok && requests(kept) < requests(old.Record) {
				t.Errorf("figures of the agent before: %t with %d requests, want %t with %d or more", ok, requests(kept), tt.keeps, requests(old.Record))
			}
			delete(records, "w1/"+old.Instance)
			if len(records) != 1 {
				t.Errorf("records of the new one: %v", slices.Collect(maps.Keys(records)))
			}
		})
	}
}

func TestNodesThatCantBeProbedFrom(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*fakeCluster)
		says   []string
	}{
		"another machine": {func(c *fakeCluster) {
			c.nodes["w1"].OnRun("^uname", func(string, []byte) (string, error) { return "Linux riscv64\n", nil })
		}, []string{"linux/amd64", "Linux riscv64"}},
		"no connection": {func(c *fakeCluster) {
			c.nodes["w1"].OnRun("^uname", func(string, []byte) (string, error) { return "", errors.New("no route to host") })
		}, []string{"no route to host"}},
		"no image": {func(c *fakeCluster) {
			for _, pod := range []string{"proxy-w1", "a-job-w1"} {
				c.api.Tracker().Delete(resource("pods"), "kube-system", pod)
			}
			c.api.Tracker().Delete(resource("pods"), "default", "app-w1")
		}, []string{"no container runs on w1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeCluster(t, "cp1", "w1")
			tt.change(c)
			p, missing := start(t.Context(), c.config("r1", "cp1", "w1"), c.api)
			if got := p.Nodes(); !slices.Equal(got, []string{"cp1"}) {
				t.Errorf("probes on %v", got)
			}
			if len(missing) != 1 || missing["w1"] == nil {
				t.Fatalf("missing: %v", missing)
			}
			for _, part := range append(tt.says, "w1") {
				if !strings.Contains(missing["w1"].Error(), part) {
					t.Errorf("%q is not in: %v", part, missing["w1"])
				}
			}
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPodThatEnds is told at once, with its exit code.
func TestPodThatEnds(t *testing.T) {
	t.Parallel()
	c := newFakeCluster(t, "w1")
	c.ends.Store(true)
	began := time.Now()
	_, missing := start(t.Context(), c.config("r1", "w1"), c.api)
	if took := time.Since(began); took > settleTime/2 {
		t.Errorf("told after %s", took)
	}
	if err := missing["w1"]; err == nil || !strings.Contains(err.Error(), "exit code 3") || strings.Contains(err.Error(), "%!") {
		t.Errorf("%v", err)
	}
}

// TestStartIsInterrupted: the wait for an agent ends with the context, and
// asks the API no more.
func TestStartIsInterrupted(t *testing.T) {
	t.Parallel()
	c := newFakeCluster(t, "w1")
	c.probed.forbid.Store(true) // so that the agent does not begin
	ctx, cancel := context.WithTimeoutCause(t.Context(), 800*time.Millisecond, errors.New("Ctrl-C"))
	defer cancel()
	began := time.Now()
	p, missing := start(ctx, c.config("r1", "w1"), c.api)
	if err := missing["w1"]; err == nil || !strings.Contains(err.Error(), "Ctrl-C") || strings.Contains(err.Error(), "its pod") || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	c.nothingIsLeft(t)
}

func TestForeignNamespace(t *testing.T) {
	t.Parallel()
	c := newFakeCluster(t, "cp1", "w1")
	theirs := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace, Labels: map[string]string{"owner": "somebody"}}}
	if err := c.api.Tracker().Add(theirs); err != nil {
		t.Fatal(err)
	}
	p, missing := start(t.Context(), c.config("r1", "cp1", "w1"), c.api)
	for _, name := range []string{"cp1", "w1"} {
		if err := missing[name]; err == nil || !strings.Contains(err.Error(), Namespace) {
			t.Errorf("%s: %v", name, err)
		}
		if ops := c.nodes[name].Ops(); len(ops) > 0 {
			t.Errorf("on %s was done %q", name, ops)
		}
	}
	// What was not made is not missed either.
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("closing: %v", err)
	}
	got, err := c.api.CoreV1().Namespaces().Get(t.Context(), Namespace, metav1.GetOptions{})
	if err != nil || cmp.Diff(theirs.Labels, got.Labels) != "" || c.podsMade() != 0 {
		t.Errorf("their namespace: %v, %v; %d pods made", got, err, c.podsMade())
	}
}

// TestNamespaceLeftOver: one of ours that an earlier run left is made again.
func TestNamespaceLeftOver(t *testing.T) {
	t.Parallel()
	c := newFakeCluster(t, "w1")
	c.start(c.config("r0", "w1"))
	c.stop(podName("w1"))
	stale := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: "stale"}}
	if err := c.api.Tracker().Add(stale); err != nil {
		t.Fatal(err)
	}
	p := c.start(c.config("r1", "w1"))
	deleted := slices.ContainsFunc(c.api.Actions(), func(a clienttesting.Action) bool { return a.Matches("delete", "namespaces") })
	if !deleted || len(p.Nodes()) != 1 {
		t.Errorf("namespace removed first: %t; probes on %v", deleted, p.Nodes())
	}
}
