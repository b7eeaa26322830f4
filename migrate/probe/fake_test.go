package probe

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

const fakeToken = "not-a-secret"

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

// compact makes every present resourceVersion too old to watch from, as a
// restarted API server's watch cache does.
func (s *fakeStore) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.oldest = s.version
}

// fakeServer is an API server that can be made to fail.
type fakeServer struct {
	t     *testing.T
	store *fakeStore
	cert  tls.Certificate
	ca    []byte
	addr  string

	mu     sync.Mutex
	server *http.Server
	cut    chan struct{} // closed and replaced to end all watches

	requests   atomic.Int64 // arrived, but for those of set-up and removal
	status     atomic.Int32 // answer everything with it; 0: do not
	hang       atomic.Bool  // answer nothing
	hangWatch  atomic.Bool  // answer no watch request
	deaf       atomic.Bool  // present watches tell no more, and do not end
	loseReply  atomic.Int32 // do so many writes, and cut the connection instead of answering
	wrongUID   atomic.Bool  // answer reads with another cluster's object
	watchStart atomic.Int64 // watches begun
}

func newFakeServer(t *testing.T, store *fakeStore) *fakeServer {
	t.Helper()
	borrowed := httptest.NewTLSServer(nil) // for its certificate for 127.0.0.1
	defer borrowed.Close()
	f := &fakeServer{
		t: t, store: store, cert: borrowed.TLS.Certificates[0], addr: "127.0.0.1:0",
		ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: borrowed.Certificate().Raw}),
	}
	f.up()
	t.Cleanup(f.down)
	return f
}

func (f *fakeServer) url() string { return "https://" + f.addr }

// up listens, at the same address as before.
func (f *fakeServer) up() {
	f.t.Helper()
	listener, err := net.Listen("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.addr = listener.Addr().String()
	server := &http.Server{
		Handler:   f.handler(),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{f.cert}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	f.mu.Lock()
	f.server, f.cut = server, make(chan struct{})
	f.mu.Unlock()
	go server.ServeTLS(listener, "", "")
}

// down cuts all connections and refuses new ones.
func (f *fakeServer) down() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server.Close()
}

// drain stops as a well-behaved server does: watches end, kept connections
// are told to go away, requests under way are answered.
func (f *fakeServer) drain() {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		f.server.Shutdown(context.Background())
	}()
	for {
		f.cutWatches()
		select {
		case <-gone:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// cutWatches ends all watches, and nothing else.
func (f *fakeServer) cutWatches() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.cut)
	f.cut = make(chan struct{})
}

func (f *fakeServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	mux.HandleFunc("POST /api/v1/namespaces", f.createNamespace)
	mux.HandleFunc("GET /api/v1/namespaces/{ns}", f.getNamespace)
	mux.HandleFunc("DELETE /api/v1/namespaces/{ns}", f.deleteNamespace)
	const collection = "/api/v1/namespaces/{ns}/configmaps"
	mux.HandleFunc("GET "+collection, f.listOrWatch)
	mux.HandleFunc("POST "+collection, f.write)
	mux.HandleFunc("GET "+collection+"/{name}", f.get)
	mux.HandleFunc("PUT "+collection+"/{name}", f.write)
	mux.HandleFunc("DELETE "+collection+"/{name}", f.write)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+fakeToken {
			answer(w, apierrors.NewUnauthorized("no").Status())
			return
		}
		f.requests.Add(1)
		if f.hang.Load() {
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}
		if status := int(f.status.Load()); status != 0 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(status)
			fmt.Fprint(w, "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, object any) {
	code := http.StatusOK
	if status, ok := object.(metav1.Status); ok {
		status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
		code, object = int(status.Code), status
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(object)
}

func fail(w http.ResponseWriter, err error) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		status = apierrors.NewInternalError(err)
	}
	answer(w, status.Status())
}

func (f *fakeServer) createNamespace(w http.ResponseWriter, r *http.Request) {
	ns := &corev1.Namespace{}
	json.NewDecoder(r.Body).Decode(ns)
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	f.requests.Store(0)
	if f.store.namespaces[ns.Name] != nil {
		fail(w, apierrors.NewAlreadyExists(corev1.Resource("namespaces"), ns.Name))
		return
	}
	f.store.namespaces[ns.Name] = ns
	answer(w, ns)
}

func (f *fakeServer) getNamespace(w http.ResponseWriter, r *http.Request) {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	answer(w, f.store.namespaces[r.PathValue("ns")])
}

func (f *fakeServer) deleteNamespace(w http.ResponseWriter, r *http.Request) {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	f.requests.Add(-1)
	delete(f.store.namespaces, r.PathValue("ns"))
	answer(w, metav1.Status{Code: http.StatusOK, Status: metav1.StatusSuccess})
}

func (f *fakeServer) get(w http.ResponseWriter, r *http.Request) {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	cm, ok := f.store.objects[r.PathValue("name")]
	if !ok {
		fail(w, apierrors.NewNotFound(configMapResource, r.PathValue("name")))
		return
	}
	if f.wrongUID.Load() {
		cm = cm.DeepCopy()
		cm.UID = "another"
	}
	answer(w, cm)
}

// write is create, update or delete.
func (f *fakeServer) write(w http.ResponseWriter, r *http.Request) {
	cm := &corev1.ConfigMap{}
	json.NewDecoder(r.Body).Decode(cm)
	err := f.apply(r.Method, r.PathValue("name"), cm)
	if err == nil && f.loseReply.Add(-1) >= 0 {
		panic(http.ErrAbortHandler)
	}
	switch {
	case err != nil:
		fail(w, err)
	case r.Method == http.MethodDelete:
		answer(w, metav1.Status{Code: http.StatusOK, Status: metav1.StatusSuccess})
	default:
		answer(w, cm)
	}
}

func (f *fakeServer) apply(method, name string, cm *corev1.ConfigMap) error {
	s := f.store
	s.mu.Lock()
	defer s.mu.Unlock()
	cm.TypeMeta = metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}
	old := s.objects[name]
	switch {
	case method == http.MethodPost && s.objects[cm.Name] != nil:
		return apierrors.NewAlreadyExists(configMapResource, cm.Name)
	case method == http.MethodPost:
		cm.UID = types.UID(fmt.Sprintf("uid-%d", s.version))
		s.record(watch.Added, cm)
		s.objects[cm.Name] = cm
	case old == nil:
		return apierrors.NewNotFound(configMapResource, name)
	case method == http.MethodPut && old.ResourceVersion != cm.ResourceVersion:
		return apierrors.NewConflict(configMapResource, name, errors.New("modified"))
	case method == http.MethodPut:
		s.record(watch.Modified, cm)
		s.objects[name] = cm
	default:
		delete(s.objects, name)
		s.record(watch.Deleted, old.DeepCopy())
	}
	return nil
}

func (f *fakeServer) listOrWatch(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if query.Get("watch") == "" {
		f.store.mu.Lock()
		defer f.store.mu.Unlock()
		answer(w, corev1.ConfigMapList{
			TypeMeta: metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"},
			ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(f.store.version)},
		})
		return
	}
	selector, err := labels.Parse(query.Get("labelSelector"))
	if err != nil {
		fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	if f.hangWatch.Load() {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	version, _ := strconv.Atoi(query.Get("resourceVersion"))
	if _, _, tooOld := f.store.since(version); tooOld {
		fail(w, apierrors.NewResourceExpired("too old resource version"))
		return
	}
	f.watchStart.Add(1)
	f.stream(w, r, version, selector)
}

func (f *fakeServer) stream(w http.ResponseWriter, r *http.Request, version int, selector labels.Selector) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	out := json.NewEncoder(w)
	f.mu.Lock()
	cut := f.cut
	f.mu.Unlock()
	for {
		w.(http.Flusher).Flush()
		events, more, _ := f.store.since(version)
		for _, e := range events {
			version = e.version
			if f.deaf.Load() {
				f.deaf.Store(false)
				<-r.Context().Done()
				return
			}
			if !e.lost && selector.Matches(labels.Set(e.object.Labels)) {
				out.Encode(map[string]any{"type": e.kind, "object": e.object})
			}
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-r.Context().Done():
			return
		case <-cut:
			return
		case <-more:
		}
	}
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

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 5 s in vain: %s", what)
		}
	}
}
