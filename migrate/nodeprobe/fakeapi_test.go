package nodeprobe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

const fakeToken = "not-a-secret"

// fakeAPI is an API server that has ConfigMaps and nothing else, behind TLS.
type fakeAPI struct {
	server  *http.Server
	address string        // host:port
	ca      []byte        // in PEM form
	closed  chan struct{} // ends the watches
	// forbid answers everything with 403, as before a role is known.
	forbid atomic.Bool
	opened atomic.Int64 // connections taken

	mu      sync.Mutex
	version int
	objects map[string]*corev1.ConfigMap
	history []map[string]any // events, told to every watch from its beginning
	more    chan struct{}    // closed and replaced with each event
}

func newFakeAPI(t *testing.T) *fakeAPI {
	t.Helper()
	f := &fakeAPI{closed: make(chan struct{}), objects: map[string]*corev1.ConfigMap{}, more: make(chan struct{})}
	cert := selfSigned(t)
	f.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = listener.Addr().String()
	f.server = &http.Server{
		Handler: f.handler(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, ErrorLog: log.New(io.Discard, "", 0),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				f.opened.Add(1)
			}
		},
	}
	go f.server.ServeTLS(listener, "", "")
	t.Cleanup(func() {
		close(f.closed)
		f.server.Close()
	})
	return f
}

// selfSigned makes a serving certificate for 127.0.0.1.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (f *fakeAPI) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	const collection = "/api/v1/namespaces/" + Namespace + "/configmaps"
	mux.HandleFunc("GET "+collection, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			f.list(w)
			return
		}
		f.watch(w, r)
	})
	mux.HandleFunc("GET "+collection+"/{name}", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		reply(w, http.StatusOK, f.objects[r.PathValue("name")])
	})
	mux.HandleFunc("POST "+collection, f.write(watch.Added))
	mux.HandleFunc("PUT "+collection+"/{name}", f.write(watch.Modified))
	mux.HandleFunc("DELETE "+collection+"/{name}", f.write(watch.Deleted))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+fakeToken:
			refuse(w, http.StatusUnauthorized)
		case f.forbid.Load():
			refuse(w, http.StatusForbidden)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

func reply(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(object)
}

func refuse(w http.ResponseWriter, code int) {
	reply(w, code, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status: metav1.StatusFailure, Code: int32(code), Message: "not you"})
}

// write does one write and tells the watches.
func (f *fakeAPI) write(kind watch.EventType) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		cm := &corev1.ConfigMap{}
		json.NewDecoder(r.Body).Decode(cm)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.version++
		if kind == watch.Deleted {
			cm = f.objects[r.PathValue("name")].DeepCopy()
			delete(f.objects, cm.Name)
		} else {
			cm.TypeMeta = metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}
			if cm.UID == "" {
				cm.UID = types.UID(fmt.Sprintf("uid-%d", f.version))
			}
			f.objects[cm.Name] = cm
		}
		cm.ResourceVersion = strconv.Itoa(f.version)
		f.history = append(f.history, map[string]any{"type": kind, "object": cm.DeepCopy()})
		close(f.more)
		f.more = make(chan struct{})
		reply(w, http.StatusOK, cm)
	}
}

func (f *fakeAPI) list(w http.ResponseWriter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply(w, http.StatusOK, corev1.ConfigMapList{
		TypeMeta: metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"},
		ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(f.version)},
	})
}

// watch tells events from the beginning of time: the probe knows by names
// which of them it has seen.
func (f *fakeAPI) watch(w http.ResponseWriter, r *http.Request) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	for told := 0; ; {
		f.mu.Lock()
		events, more := f.history[told:], f.more
		f.mu.Unlock()
		for _, e := range events {
			if selector.Matches(labels.Set(e["object"].(*corev1.ConfigMap).Labels)) {
				json.NewEncoder(w).Encode(e)
			}
		}
		told += len(events)
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-f.closed:
			return
		case <-more:
		}
	}
}
