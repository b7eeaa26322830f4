package probe

import (
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

var configMapResource = corev1.Resource("configmaps")

// fakeStore is what an API server keeps in etcd: several fakeServers can
// stand in front of one.
type fakeStore struct {
	mu         sync.Mutex
	version    int
	namespaces map[string]*corev1.Namespace
	objects    map[string]*corev1.ConfigMap
	history    []fakeEvent
	oldest     int           // watches from before it get status 410
	changed    chan struct{} // closed and replaced at each change
	drop       int           // so many of the next events are never told
}

type fakeEvent struct {
	version int
	kind    watch.EventType
	object  *corev1.ConfigMap
	lost    bool
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		version: 100, namespaces: map[string]*corev1.Namespace{},
		objects: map[string]*corev1.ConfigMap{}, changed: make(chan struct{}),
	}
}

// record notes a change to cm, whose resourceVersion becomes that of the
// change; s.mu is held.
func (s *fakeStore) record(kind watch.EventType, cm *corev1.ConfigMap) {
	s.version++
	cm.ResourceVersion = strconv.Itoa(s.version)
	e := fakeEvent{version: s.version, kind: kind, object: cm.DeepCopy(), lost: s.drop > 0}
	s.drop = max(s.drop-1, 0)
	s.history = append(s.history, e)
	close(s.changed)
	s.changed = make(chan struct{})
}

// since returns the events after a version, and what is closed at the next.
func (s *fakeStore) since(version int) (events []fakeEvent, more <-chan struct{}, tooOld bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.history, version+1, func(e fakeEvent, v int) int { return e.version - v })
	return slices.Clone(s.history[i:]), s.changed, version < s.oldest
}

// deafen makes watches miss so many events from now on.
func (s *fakeStore) deafen(events int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop = events
}

// compact makes every present resourceVersion too old to watch from, as a
// restarted API server's watch cache does.
func (s *fakeStore) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.oldest = s.version
}

func namespace(name string, ours, terminating bool) *corev1.Namespace {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if ours {
		ns.Labels = map[string]string{managedByLabel: managedBy}
	}
	if terminating {
		ns.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	}
	return ns
}

// namespaceNames names the namespaces that exist.
func (s *fakeStore) namespaceNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.namespaces))
}
