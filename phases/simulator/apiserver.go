package simulator

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	"hamigrate/migrate/remote/remotetest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
)

// apiHandler answers the clients of one port of a host, whichever API server
// has it at the moment.
type apiHandler struct {
	world *World
	host  *Host
	port  string
}

func (w *World) serveAPI(l *listener, h *Host, port string) {
	s := &http.Server{
		Handler:  apiHandler{w, h, port},
		ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{NextProtos: []string{"h2", "http/1.1"}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return h.apiTLS(port)
		}},
	}
	go s.ServeTLS(l, "", "") //nolint:errcheck // ends with Close
	w.closers = append(w.closers, func() { s.Close() })
}

// apiTLS serves the pair that the process has in memory.
func (h *Host) apiTLS(port string) (*tls.Config, error) {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	pod := h.apiServer(port)
	if pod == nil || pod.serving == nil {
		return nil, errRefused
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(h.read(pod.proc.flags["client-ca-file"])))
	return &tls.Config{Certificates: []tls.Certificate{*pod.serving}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven,
		CurvePreferences: []tls.CurveID{tls.X25519}, NextProtos: []string{"h2", "http/1.1"}, SessionTicketsDisabled: true}, nil
}

// ServeHTTP answers one request, or cuts the connection where nobody is there
// to answer or to ask.
func (a apiHandler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	a.world.settle()
	a.world.mu.Lock()
	defer a.world.mu.Unlock()
	pod := a.host.apiServer(a.port)
	if a.world.Faults.Alive() != nil || pod == nil {
		panic(http.ErrAbortHandler)
	}
	ready := a.world.notReady(a.host, pod)
	nobody := len(r.TLS.PeerCertificates) == 0
	switch {
	case nobody && pod.proc.flags["anonymous-auth"] == "false":
		a.reply(rw, nil, apierrors.NewUnauthorized("Unauthorized"))
		return
	case r.URL.Path == "/livez":
		fmt.Fprint(rw, "ok")
		return
	case r.URL.Path == "/readyz" && ready != nil:
		http.Error(rw, fmt.Sprintf("[+]ping ok\n[-]etcd failed: %v\nreadyz check failed", ready), http.StatusInternalServerError)
		return
	case r.URL.Path == "/readyz":
		fmt.Fprint(rw, "ok")
		return
	case pod.deaf():
		goAway(rw)
		return
	case ready != nil:
		a.reply(rw, nil, apierrors.NewInternalError(ready))
		return
	case nobody:
		a.reply(rw, nil, apierrors.NewUnauthorized("no client certificate"))
		return
	case r.URL.Path == "/api":
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(rw, `{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":%q}]}`, pod.externalAddress(a.port))
		return
	case r.URL.Path == "/apis":
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprint(rw, `{"kind":"APIGroupList","groups":[{"name":"apps","versions":[{"groupVersion":"apps/v1","version":"v1"}]}]}`)
		return
	case r.URL.Path == "/metrics":
		fmt.Fprintf(rw, "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %d.%03d\n", pod.proc.started.Unix(), pod.proc.pid)
		return
	case r.URL.Path == "/version":
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(rw, `{"gitVersion":%q}`, kubernetesVersion)
		return
	}
	if r.URL.Path == reviews {
		a.reply(rw, a.review(r), nil)
		return
	}
	obj, err := a.resource(r)
	if err != nil && (a.world.Faults.Alive() != nil || errors.Is(err, remotetest.ErrCut)) {
		panic(http.ErrAbortHandler)
	}
	a.reply(rw, obj, err)
}

// goAway makes a client send its request again on a new connection, as one does that
// a server which ends has told to go away (GOAWAY): Go's server sends that for
// "Connection: close", with an answer, and client-go takes this one for a reason to
// send again.
func goAway(rw http.ResponseWriter) {
	rw.Header().Set("Connection", "close")
	rw.Header().Set("Retry-After", "1")
	http.Error(rw, "it ends", http.StatusServiceUnavailable)
}

// resource carries out a request for an object or a list.
func (a apiHandler) resource(r *http.Request) (runtime.Object, error) {
	path, evicts := strings.CutSuffix(r.URL.Path, "/eviction")
	key, ok := parsePath(path)
	if ok && evicts && key.resource == "pods" && r.Method == http.MethodPost {
		return &metav1.Status{Status: metav1.StatusSuccess}, a.world.do("api: evict "+key.String(), func() error {
			return a.world.delete(key.resource, key.namespace, key.name)
		})
	}
	if !ok {
		return nil, apierrors.NewBadRequest("path " + r.URL.Path + " is not played")
	}
	if r.Method == http.MethodGet {
		return a.get(r, key)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var out runtime.Object
	op := fmt.Sprintf("api: %s %s", r.Method, key)
	if strings.HasPrefix(key.name, "bootstrap-token-") || strings.HasPrefix(key.name, "migrate-overlap-") || r.Method == http.MethodPost {
		op = fmt.Sprintf("api: %s %s", r.Method, key.resource) // their names are random
	}
	err = a.world.do(op, func() (err error) {
		out, err = a.change(r, key, body)
		return err
	})
	return out, err
}

func (a apiHandler) change(r *http.Request, key objectKey, body []byte) (runtime.Object, error) {
	w := a.world
	switch r.Method {
	case http.MethodPost, http.MethodPut:
		decoded, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		obj, ok := decoded.(object)
		if !ok {
			return nil, apierrors.NewBadRequest("no object")
		}
		obj.SetNamespace(key.namespace)
		if r.Method == http.MethodPost {
			return obj, w.create(key.resource, obj)
		}
		return obj, w.update(key.resource, obj)
	case http.MethodPatch:
		return a.patch(r, key, body)
	case http.MethodDelete:
		return &metav1.Status{Status: metav1.StatusSuccess}, w.delete(key.resource, key.namespace, key.name)
	}
	return nil, apierrors.NewMethodNotSupported(groupResource(key.resource), r.Method)
}

func (a apiHandler) patch(r *http.Request, key objectKey, body []byte) (runtime.Object, error) {
	have := a.world.objects.items[key]
	if have == nil {
		return nil, apierrors.NewNotFound(groupResource(key.resource), key.name)
	}
	if t := r.Header.Get("Content-Type"); t != "application/strategic-merge-patch+json" {
		return nil, apierrors.NewBadRequest("patches of type " + t + " are not played")
	}
	before, err := json.Marshal(have)
	if err != nil {
		return nil, err
	}
	merged, err := strategicpatch.StrategicMergePatch(before, body, empty(key.resource))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	after := empty(key.resource)
	if err := json.Unmarshal(merged, after); err != nil {
		return nil, err
	}
	return after, a.world.update(key.resource, after)
}

func (a apiHandler) get(r *http.Request, key objectKey) (runtime.Object, error) {
	if key.name != "" {
		obj := a.world.objects.items[key]
		if obj == nil {
			return nil, apierrors.NewNotFound(groupResource(key.resource), key.name)
		}
		return obj, nil
	}
	list := emptyList(key.resource)
	if list == nil {
		return nil, apierrors.NewBadRequest("lists of " + key.resource + " are not played")
	}
	q := r.URL.Query()
	var items []runtime.Object
	for _, obj := range a.world.objects.find(key.resource, key.namespace) {
		ok, err := selected(obj, q.Get("labelSelector"), q.Get("fieldSelector"))
		if err != nil {
			return nil, err
		}
		if ok {
			items = append(items, obj)
		}
	}
	return list, meta.SetList(list, items)
}

// reply writes an object or a Status as JSON.
func (a apiHandler) reply(rw http.ResponseWriter, obj runtime.Object, err error) {
	code := http.StatusOK
	if err != nil {
		var status apierrors.APIStatus
		if !errors.As(err, &status) {
			status = apierrors.NewInternalError(err)
		}
		s := status.Status()
		obj, code = &s, int(s.Code)
	}
	kinds, _, err := scheme.Scheme.ObjectKinds(obj)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	data, err := runtime.Encode(scheme.Codecs.LegacyCodec(kinds[0].GroupVersion()), obj)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(code)
	rw.Write(data) //nolint:errcheck // the client is gone
}

// parsePath reads /api/v1/… and /apis/GROUP/VERSION/….
func parsePath(path string) (objectKey, bool) {
	words := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(words) > 2 && words[0] == "api":
		words = words[2:]
	case len(words) > 3 && words[0] == "apis":
		words = words[3:]
	default:
		return objectKey{}, false
	}
	var k objectKey
	if words[0] == "namespaces" && len(words) > 2 {
		k.namespace, words = words[1], words[2:]
	}
	k.resource = words[0]
	if len(words) > 1 {
		k.name = words[1]
	}
	return k, len(words) < 3 && empty(k.resource) != nil
}
