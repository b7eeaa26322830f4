package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/test/bufconn"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

const fakeToken = "not-a-secret"

// fakeLatency is how long every answer takes.
const fakeLatency = 3 * time.Millisecond

// fakeServer is an API server that can be made to fail. It listens in memory,
// so that it lives in a synctest bubble: the tests' times are exact, whatever
// else the machine does.
type fakeServer struct {
	t     *testing.T
	store *fakeStore
	cert  tls.Certificate
	ca    []byte

	mu       sync.Mutex
	server   *http.Server
	listener *bufconn.Listener // nil: connections are refused
	cut      chan struct{}     // closed and replaced to end all watches

	requests   atomic.Int64 // arrived, but for those of set-up and removal
	status     atomic.Int32 // answer everything with it; 0: do not
	hang       atomic.Bool  // answer nothing
	hangWatch  atomic.Bool  // answer no watch request
	deaf       atomic.Bool  // the next watch with an event tells no more, and does not end
	loseReply  atomic.Int32 // do so many writes, and cut the connection instead of answering
	wrongUID   atomic.Bool  // answer reads with another cluster's object
	watchStart atomic.Int64 // watches begun
}

const fakeURL = "https://127.0.0.1:6443"

func newFakeServer(t *testing.T, store *fakeStore) *fakeServer {
	t.Helper()
	f := &fakeServer{t: t, store: store}
	f.cert, f.ca = selfSigned(t)
	f.up()
	t.Cleanup(f.down)
	return f
}

// twin is a second server in front of the same store, with the same
// certificate.
func (f *fakeServer) twin() *fakeServer {
	f.t.Helper()
	twin := &fakeServer{t: f.t, store: f.store, cert: f.cert, ca: f.ca}
	twin.up()
	f.t.Cleanup(twin.down)
	return twin
}

// selfSigned makes a serving certificate for 127.0.0.1, and its PEM form.
func selfSigned(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(cryptorand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// up begins to listen.
func (f *fakeServer) up() { f.serve(bufconn.Listen(1 << 16)) }

func (f *fakeServer) serve(listener net.Listener) {
	server := &http.Server{
		Handler:   f.handler(),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{f.cert}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listener, _ = listener.(*bufconn.Listener)
	f.server, f.cut = server, make(chan struct{})
	go server.ServeTLS(listener, "", "")
}

// dial is a Path.Dial.
func (f *fakeServer) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	f.mu.Lock()
	listener := f.listener
	f.mu.Unlock()
	if listener == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	return listener.DialContext(ctx)
}

func (f *fakeServer) path(name, from string) Path {
	return Path{Name: name, From: from, URL: fakeURL, Dial: f.dial}
}

// down cuts all connections and refuses new ones.
func (f *fakeServer) down() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listener = nil
	f.server.Close()
}

// drain stops as a well-behaved server does: watches end, kept connections
// are told to go away, requests under way are answered.
func (f *fakeServer) drain() {
	f.mu.Lock()
	f.listener = nil
	f.mu.Unlock()
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
		time.Sleep(fakeLatency)
		if f.hang.Load() {
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}
		if status := int(f.status.Load()); status != 0 {
			if status != http.StatusInternalServerError {
				w.Header().Set("Retry-After", "1") // as the real one does with 429 and 503
			}
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
	there := f.store.namespaces[ns.Name] != nil
	if !there {
		f.store.namespaces[ns.Name] = ns
	}
	f.store.mu.Unlock()
	f.requests.Store(0)
	if there {
		fail(w, apierrors.NewAlreadyExists(corev1.Resource("namespaces"), ns.Name))
		return
	}
	answer(w, ns)
}

func (f *fakeServer) getNamespace(w http.ResponseWriter, r *http.Request) {
	f.store.mu.Lock()
	ns := f.store.namespaces[r.PathValue("ns")]
	f.store.mu.Unlock()
	answer(w, ns)
}

func (f *fakeServer) deleteNamespace(w http.ResponseWriter, r *http.Request) {
	f.store.mu.Lock()
	delete(f.store.namespaces, r.PathValue("ns"))
	f.store.mu.Unlock()
	f.requests.Add(-1)
	answer(w, metav1.Status{Code: http.StatusOK, Status: metav1.StatusSuccess})
}

func (f *fakeServer) get(w http.ResponseWriter, r *http.Request) {
	f.store.mu.Lock()
	cm, ok := f.store.objects[r.PathValue("name")]
	f.store.mu.Unlock()
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
		s.objects[cm.Name] = cm.DeepCopy()
	case old == nil:
		return apierrors.NewNotFound(configMapResource, name)
	case method == http.MethodPut && old.ResourceVersion != cm.ResourceVersion:
		return apierrors.NewConflict(configMapResource, name, errors.New("modified"))
	case method == http.MethodPut:
		s.record(watch.Modified, cm)
		s.objects[name] = cm.DeepCopy()
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
		now := strconv.Itoa(f.store.version)
		f.store.mu.Unlock()
		answer(w, corev1.ConfigMapList{
			TypeMeta: metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"},
			ListMeta: metav1.ListMeta{ResourceVersion: now},
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
