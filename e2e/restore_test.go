package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// restoreKillAt is the step in which the restore is killed once: data folders
// are half made, and no API server is there to be asked.
const restoreKillAt = "restore/member"

// mark makes an object with a name that tells when it was made.
func mark(ctx context.Context, s *scenario, t *testing.T, name string) {
	t.Helper()
	maps := s.pg.kube(t, s.pg.endpoint()).CoreV1().ConfigMaps(namespace)
	if _, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// restoreIsRefused: while a quorum answers there is nothing to restore.
func restoreIsRefused(t *testing.T, s *scenario) {
	mark(soon(t), s, t, "kept")
	r := s.bin.must(t, 0, phaseLimit, s.migrate("backup")...)
	if !strings.Contains(r.stdout+r.stderr, "etcd at revision") {
		t.Errorf("backup said: %s", tail(r.stdout+r.stderr, 5))
	}
	mark(soon(t), s, t, "lost")
	r = s.bin.run(t, planLimit, s.migrate("restore", "--plan")...)
	if r.code != 3 || !strings.Contains(r.stderr, "quorum") {
		t.Errorf("restore while a quorum answers ended with exit code %d and said: %s", r.code, tail(r.stderr, 5))
	}
}

// restored destroys the data of all three members, opens the emergency door,
// is killed in it once, and goes on.
func restored(t *testing.T, s *scenario) {
	old, err := s.pg.kube(t, s.pg.endpoint()).CoreV1().ConfigMaps(namespace).List(soon(t), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range etcdHosts() {
		s.pg.hosts[name].must(t, "systemctl kill -s KILL etcd; systemctl stop etcd; rm -rf /var/lib/etcd-external/member")
	}
	r := s.bin.must(t, 0, planLimit, s.migrate("restore", "--plan")...)
	if !strings.Contains(r.stdout, "is lost") {
		t.Errorf("restore --plan does not say what is lost: %s", tail(r.stdout, 20))
	}
	s.killAt(t, restoreKillAt, "e2", 200*time.Millisecond, s.migrate("restore", "--yes", "-o", "json")...)
	began := time.Now()
	s.bin.must(t, 0, runLimit, s.migrate("restore", "--yes")...)
	t.Logf("after the kill, the restore went on for %.0f s", time.Since(began).Seconds())
	afterRestore(t, s, old.ResourceVersion)
}

func afterRestore(t *testing.T, s *scenario, oldVersion string) {
	t.Helper()
	c := s.pg.kube(t, s.pg.endpoint())
	maps := c.CoreV1().ConfigMaps(namespace)
	if _, err := maps.Get(soon(t), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("what was written before the backup: %v", err)
	}
	if _, err := maps.Get(soon(t), "lost", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what was written after the backup: %v", err)
	}
	members := s.pg.members(t)
	status, err := members["e1"].Status(soon(t), members["e1"].Endpoints()[0])
	if err != nil {
		t.Fatal(err)
	}
	if status.Header.Revision < 1e9 {
		t.Errorf("the revision is %d: caches that knew newer ones would not be thrown away", status.Header.Revision)
	}
	eventually(t, settle, "equal hashes of all members", func(ctx context.Context) error {
		return sameHistory(ctx, members, status.Header.ClusterId)
	})
	watch, err := maps.Watch(soon(t), metav1.ListOptions{ResourceVersion: oldVersion})
	if err == nil {
		defer watch.Stop()
		event, ok := <-watch.ResultChan()
		if status, is := event.Object.(*metav1.Status); !ok || !is || status.Code != 410 {
			t.Errorf("a watch from before the restore was answered with %v, not with 410", event)
		}
	} else if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		t.Errorf("a watch from before the restore: %v", err)
	}
	var want []string
	for _, name := range controlPlanes() {
		want = append(want, s.pg.address(name))
	}
	eventually(t, failover, "the kubernetes endpoints", func(ctx context.Context) error { return endpointsAre(ctx, c, want...) })
	eventually(t, 2*time.Minute, "all nodes Ready", func(ctx context.Context) error {
		for _, name := range append(controlPlanes(), workers()...) {
			if err := nodeReady(ctx, c, name); err != nil {
				return err
			}
		}
		return nil
	})
	for _, name := range slices.Concat(controlPlanes(), etcdHosts()) {
		if out := s.pg.hosts[name].must(t, "ls -A /var/lib/migrate/parked 2>/dev/null; find /var/lib/migrate -name etcd.db; true"); strings.TrimSpace(out) != "" {
			t.Errorf("the restore left on %s: %s", name, out)
		}
	}
	eventually(t, evacuation, "a pod on a worker to resolve names", func(ctx context.Context) error { return resolves(ctx, c, time.Now().Add(-15*time.Second)) })
	if err := controllersWork(t, s); err != nil {
		t.Error(err)
	}
}

// controllersWork: a Deployment that is made now gets its pod.
func controllersWork(t *testing.T, s *scenario) error {
	t.Helper()
	c := s.pg.kube(t, s.pg.endpoint())
	d := workload("made-after-restore", kubeProxyImage(t, c), 1, "exec sleep infinity")
	if _, err := c.AppsV1().Deployments(namespace).Create(soon(t), d, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making a Deployment: %w", err)
	}
	return poll(t.Context(), evacuation, func(ctx context.Context) error { return deploymentReady(ctx, c, namespace, d.Name) })
}
