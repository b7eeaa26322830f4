package playground

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// apiServer is as much of an API server as filling asks for, over HTTP/2 and
// TLS. It checks that the client sends what a real one would take.
type apiServer struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	objects map[string]int // resource/namespace/name -> bytes
	posts   int            // of ConfigMaps and Secrets
	busy    func(post int) bool
	broken  func(post int) bool
	now     atomic.Int32
	most    int32
	metrics string
}

func startAPI(t *testing.T) *apiServer {
	t.Helper()
	never := func(int) bool { return false }
	a := &apiServer{
		t: t, objects: map[string]int{}, busy: never, broken: never,
		metrics: "# HELP x\n" + sizeMetric + `{storage_cluster_id="etcd-0"} 2.6e+07` + "\n" + sizeMetric + `{storage_cluster_id="etcd-1"} 2.5e+07` + "\n",
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/namespaces", a.create)
	mux.HandleFunc("POST /api/v1/namespaces/{namespace}/{resource}", a.create)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/{resource}", a.list)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, a.metrics) })
	a.Server = httptest.NewUnstartedServer(mux)
	a.EnableHTTP2 = true
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

// successor has the objects and no trouble. What writers had on their way when
// they were ended may still arrive at a, and does no harm there.
func (a *apiServer) successor() *apiServer {
	next := startAPI(a.t)
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.Copy(next.objects, a.objects)
	return next
}

// filler is one whose events are kept.
func (a *apiServer) filler() (*filler, func() []string) {
	a.t.Helper()
	var mu sync.Mutex
	var said []string
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	f, err := newFiller(&rest.Config{Host: a.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}, func(m string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, m)
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return f, func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(said) }
}

func (a *apiServer) create(w http.ResponseWriter, r *http.Request) {
	now := a.now.Add(1)
	defer a.now.Add(-1)
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	decoded, _, err := scheme.Codecs.UniversalDeserializer().Decode(data, nil, nil)
	if err != nil || r.ProtoMajor != 2 {
		a.t.Errorf("%s over %s: %v", r.URL.Path, r.Proto, err)
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.most = max(a.most, now)
	meta := decoded.(metav1.Object)
	resource, ns := r.PathValue("resource"), r.PathValue("namespace")
	if resource == "" {
		resource = "namespaces"
	} else {
		a.posts++
		switch {
		case a.busy(a.posts):
			w.Header().Set("Retry-After", "0")
			a.status(w, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
			return
		case a.broken(a.posts):
			a.status(w, http.StatusForbidden, metav1.StatusReasonForbidden)
			return
		case a.objects["namespaces//"+ns] == 0 || meta.GetNamespace() != ns:
			a.status(w, http.StatusNotFound, metav1.StatusReasonNotFound)
			return
		}
	}
	key := resource + "/" + ns + "/" + meta.GetName()
	if a.objects[key] > 0 {
		a.status(w, http.StatusConflict, metav1.StatusReasonAlreadyExists)
		return
	}
	a.objects[key] = len(data)
	a.answer(w, http.StatusCreated, map[string]string{"kind": "Anything"})
}

func (a *apiServer) list(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
		a.t.Errorf("whole objects are listed: Accept is %q", r.Header.Get("Accept"))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	// As in every namespace of a real cluster, and of the user's making.
	items := []metav1.PartialObjectMetadata{{ObjectMeta: metav1.ObjectMeta{Name: "kube-root-ca.crt"}}}
	for key := range a.objects {
		if name, ours := strings.CutPrefix(key, r.PathValue("resource")+"/"+r.PathValue("namespace")+"/"); ours {
			items = append(items, metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}})
		}
	}
	a.answer(w, http.StatusOK, metav1.PartialObjectMetadataList{
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}, Items: items,
	})
}

func (a *apiServer) status(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	a.answer(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: reason, Message: "because", Code: int32(code),
	})
}

func (a *apiServer) answer(w http.ResponseWriter, code int, what any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(what) // the client may have gone
}

// count is how many ConfigMaps and Secrets are there, and how often they were
// asked to be made.
func (a *apiServer) count() (there, posts int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key := range a.objects {
		if !strings.HasPrefix(key, "namespaces/") {
			there++
		}
	}
	return there, a.posts
}

func TestFillCompletesWhatAnInterruptedOneWrote(t *testing.T) {
	t.Parallel()
	a := startAPI(t)
	const n = 500
	a.broken = func(post int) bool { return post > 200 }
	f, said := a.filler()
	err := f.fill(t.Context(), n)
	if err == nil || !strings.Contains(err.Error(), "creating ") || !strings.Contains(err.Error(), "/objects-") {
		t.Fatalf("an API server that refuses: %v", err)
	}
	there, _ := a.count()
	if there != 200 || !slices.Contains(said(), "writing objects: 200 of 500") {
		t.Fatalf("%d objects, said %q", there, said())
	}

	a = a.successor()
	f, said = a.filler()
	if err := f.fill(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if there, posts := a.count(); there != n || posts != n-200 {
		t.Errorf("%d objects after %d requests more, want %d and %d", there, posts, n, n-200)
	}
	for i := range n {
		size, _ := stored(t, objectAt(i).body())
		if got := a.objects[objectAt(i).key()]; got < size {
			t.Errorf("%s: %d bytes came, want %d at least", objectAt(i).key(), got, size)
		}
	}
	// From several writers: in any order but for the first and the last.
	got := said()
	slices.Sort(got[1 : len(got)-1])
	want := []string{
		"200 of 500 objects are there already", "writing objects: 250 of 500", "writing objects: 300 of 500", "writing objects: 350 of 500",
		"writing objects: 400 of 500", "writing objects: 450 of 500", "writing objects: 500 of 500", "etcd's database is 26 MB",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	if a.most > writers {
		t.Errorf("%d requests at once, want %d at most", a.most, writers)
	}

	a = a.successor()
	f, _ = a.filler()
	if err := f.fill(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if _, posts := a.count(); posts != 0 {
		t.Errorf("nothing was missing, and %d requests were made", posts)
	}
}

func TestFillWaitsForABusyAPIServer(t *testing.T) {
	t.Parallel()
	a := startAPI(t)
	a.busy = func(post int) bool { return post%3 != 0 } // two of three are turned away
	f, _ := a.filler()
	if err := f.fill(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	if there, posts := a.count(); there != 100 || posts < 298 {
		t.Errorf("%d objects, %d requests", there, posts)
	}
	// One whose object another made in between is content.
	f, _ = a.filler()
	if err := f.write(t.Context(), []int{7}, 100); err != nil {
		t.Errorf("an object that is there: %v", err)
	}
}

func TestFillEndsWithItsContext(t *testing.T) {
	t.Parallel()
	a := startAPI(t)
	ctx, cancel := context.WithCancel(t.Context())
	a.busy = func(post int) bool {
		if post == 50 {
			cancel()
		}
		return post >= 50 // for ever
	}
	f, _ := a.filler()
	ended := make(chan error, 1)
	go func() { ended <- f.fill(ctx, 200) }()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("goes on without its context")
	}
}

func TestFillGivesUpOnAnAPIServerThatStaysBusy(t *testing.T) {
	t.Parallel()
	a := startAPI(t)
	a.busy = func(int) bool { return true }
	f, _ := a.filler()
	err := f.fill(t.Context(), 1)
	if _, posts := a.count(); err == nil || !strings.Contains(err.Error(), "creating configmaps/objects-1/settings-000000") || posts != writeRetries+1 {
		t.Errorf("after %d requests: %v", posts, err)
	}
}

func TestDatabaseSizeThatIsNotTold(t *testing.T) {
	t.Parallel()
	for metrics, want := range map[string]string{
		"":                               "have no " + sizeMetric,
		sizeMetric + "_other{a=\"b\"} 7": "have no " + sizeMetric,
		sizeMetric + "{a=\"b\"} many":    "reading " + sizeMetric,
	} {
		a := startAPI(t)
		a.metrics = metrics + "\n"
		f, _ := a.filler()
		if err := f.fill(t.Context(), 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", metrics, err, want)
		}
	}
}
