package nodeprobe

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
)

func TestClose(t *testing.T) {
	t.Parallel()
	c := newFakeCluster(t, "cp1", "w1")
	p := c.start(c.config("r1", "cp1", "w1"))
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.nothingIsLeft(t)
}

func (c *fakeCluster) nothingIsLeft(t *testing.T) {
	t.Helper()
	if _, err := c.api.CoreV1().Namespaces().Get(t.Context(), Namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the namespace: %v", err)
	}
	for name, n := range c.nodes {
		if left := n.Snapshot(); len(left) > 0 {
			t.Errorf("on %s: %v", name, slices.Collect(maps.Keys(left)))
		}
		for _, dir := range []string{programDir, socketDir} {
			if names, err := n.List(t.Context(), dir); err == nil {
				t.Errorf("on %s: %s with %v", name, dir, names)
			}
		}
	}
}

// TestCloseSaysWhatIsLeft, and removes all the rest.
func TestCloseSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	t.Run("namespace", func(t *testing.T) {
		t.Parallel()
		c := newFakeCluster(t, "w1")
		p := c.start(c.config("r1", "w1"))
		c.stuck.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		err := p.Close(ctx)
		if err == nil || !strings.Contains(err.Error(), Namespace) || !strings.Contains(err.Error(), "kubectl get namespace") {
			t.Errorf("%v", err)
		}
	})
	t.Run("files", func(t *testing.T) {
		t.Parallel()
		c := newFakeCluster(t, "cp1", "w1")
		p := c.start(c.config("r1", "cp1", "w1"))
		n := c.nodes["cp1"]
		n.Put(remote.File{Path: programDir + "/.migrate.migrate-x1"})
		n.OnRun("^rm -rf", func(string, []byte) (string, error) { n.Delete(program); n.Delete(socketDir); return "", nil })
		err := p.Close(t.Context())
		if err == nil || !strings.Contains(err.Error(), programDir) || !strings.Contains(err.Error(), ".migrate.migrate-x1") || !strings.Contains(err.Error(), "cp1") {
			t.Errorf("%v", err)
		}
		if left := c.nodes["w1"].Snapshot(); len(left) > 0 {
			t.Errorf("on w1: %v", left)
		}
	})
	t.Run("node", func(t *testing.T) {
		t.Parallel()
		c := newFakeCluster(t, "cp1", "w1")
		p := c.start(c.config("r1", "cp1", "w1"))
		c.nodes["cp1"].crash()
		if err := p.Close(t.Context()); !errors.Is(err, remotetest.ErrCrashed) || !strings.Contains(err.Error(), "cp1") {
			t.Errorf("%v", err)
		}
		if left := c.nodes["w1"].Snapshot(); len(left) > 0 {
			t.Errorf("on w1: %v", left)
		}
	})
	t.Run("API", func(t *testing.T) {
		t.Parallel()
		c := newFakeCluster(t, "w1")
		p := c.start(c.config("r1", "w1"))
		c.api.PrependReactor("*", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("connection refused")
		})
		if err := p.Close(t.Context()); err == nil || !strings.Contains(err.Error(), Namespace) {
			t.Errorf("%v", err)
		}
		if left := c.nodes["w1"].Snapshot(); len(left) > 0 {
			t.Errorf("on w1, which can be reached: %v", left)
		}
	})
}

// crash makes a node unreachable for good.
func (n *node) crash() {
	n.FailAt(len(n.Ops())+1, remotetest.Before, remotetest.ErrCrashed)
	n.Remove(context.Background(), "/x")
}
