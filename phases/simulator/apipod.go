package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
)

const (
	apiComm      = "kube-apiserver" // in /proc/PID/comm
	apiPort      = "6443"
	apiStart     = 5 * time.Second        // until an API server is ready
	apiHooks     = 100 * time.Millisecond // of an API server that ends, before it listens no more
	apiShutdown  = time.Minute            // what its watches keep it for (k8s.io/apiserver: ShutdownTimeout)
	certReload   = time.Second
	apiManifest  = "kube-apiserver.yaml"
	masterLeases = "/registry/masterleases/"
)

// apiServers lists the API servers that run on a host.
func (h *Host) apiServers() []*staticPod {
	var out []*staticPod
	for _, name := range slices.Sorted(maps.Keys(h.pods)) {
		if pod := h.pods[name]; pod.proc != nil && pod.proc.name == apiComm {
			out = append(out, pod)
		}
	}
	return out
}

// apiServer returns the one that listens on a port, nil for none.
func (h *Host) apiServer(port string) *staticPod {
	for _, pod := range h.apiServers() {
		if pod.proc.flags["secure-port"] == port {
			return pod
		}
	}
	return nil
}

// externalAddress is where an API server says it is: with --external-hostname
// there, else at its advertised address (apiserver: pkg/server/config.go).
func (pod *staticPod) externalAddress(port string) string {
	host := cmp.Or(pod.proc.flags["external-hostname"], pod.proc.flags["advertise-address"])
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(host, port)
}

// reloadServing is the API server's watch of its two files: a pair that
// matches is used from then on.
func (h *Host) reloadServing(pod *staticPod) {
	f := pod.proc.flags
	pair, err := h.world.memo.keyPair([]byte(h.read(f["tls-cert-file"])), []byte(h.read(f["tls-private-key-file"])))
	if err == nil {
		pod.serving = &pair
	}
}

// mayServe refuses what keeps an API server from starting, and what would be
// worse: one that starts with another key than the others.
func (w *World) mayServe(h *Host, f map[string]string) error {
	for _, name := range []string{"client-ca-file", "tls-cert-file", "tls-private-key-file", "etcd-cafile", "etcd-certfile", "etcd-keyfile",
		"service-account-key-file", "service-account-signing-key-file", "encryption-provider-config", "audit-policy-file", "oidc-ca-file"} {
		if file, ok := f[name]; ok && !h.has(file) {
			return fmt.Errorf("--%s: open %s: no such file or directory", name, file)
		}
	}
	for _, name := range []string{"encryption-provider-config", "service-account-signing-key-file"} {
		text := h.read(f[name])
		if w.shared[name] != "" && w.shared[name] != text {
			w.never("the API server on %s has another --%s than the first", h.Name(), name)
		}
		w.shared[name] = text
	}
	return w.ails(f, true)
}

// notReady says why an API server does not serve.
func (w *World) notReady(h *Host, pod *staticPod) error {
	if pod == nil || pod.proc == nil {
		return errors.New("it does not run")
	}
	if !pod.told.IsZero() {
		return errors.New("it ends")
	}
	if time.Now().Before(pod.ready) {
		return errors.New("poststarthook/start-apiextensions-controllers failed")
	}
	if err := w.ails(pod.proc.flags, false); err != nil {
		return err
	}
	for server := range strings.SplitSeq(pod.proc.flags["etcd-servers"], ",") {
		u, err := url.Parse(server)
		if err != nil {
			continue
		}
		r, err := w.route(h, u.Host)
		if err != nil || r.kind != etcdClient {
			continue
		}
		m := r.boot.cluster.find(r.boot.member)
		switch {
		case r.boot.cluster != w.store():
			w.never("the API server on %s uses another etcd", h.Name())
		case m != nil && m.learner:
			w.never("the API server on %s lists a learner", h.Name())
		case m != nil && w.quorum(r.boot.cluster) && r.boot.cluster.leader != 0:
			return nil
		}
	}
	return errors.New("etcd does not answer")
}

// settleServing notices changed certificate files.
func (h *Host) settleServing(now time.Time) {
	for _, pod := range h.apiServers() {
		pair := h.read(pod.proc.flags["tls-cert-file"]) + h.read(pod.proc.flags["tls-private-key-file"])
		if pair != pod.pair {
			pod.pair, pod.reload = pair, now.Add(certReload)
		}
		if !pod.reload.IsZero() && !now.Before(pod.reload) {
			h.reloadServing(pod)
			pod.reload = time.Time{}
		}
	}
}

// leaseOf is the address that an API server publishes for the kubernetes
// Service, "" for one that does not.
func leaseOf(pod *staticPod) string {
	if pod.proc == nil || pod.proc.name != apiComm || pod.proc.flags["endpoint-reconciler-type"] == "none" {
		return ""
	}
	return pod.proc.flags["advertise-address"]
}

// resign is an API server's orderly end: it takes its lease away and leaves
// the endpoints to those that hold one (pkg/controlplane/reconcilers/lease.go).
func (w *World) resign(pod *staticPod) {
	if address := leaseOf(pod); address != "" {
		delete(w.store().keys, masterLeases+address)
		w.publish()
	}
}

// tellToStop is a signal that is not the kubelet's. The first one makes an API
// server take its lease away and then refuse new connections; a second one
// would end it at once (k8s.io/apiserver: pkg/server/signal.go).
func (h *Host) tellToStop(pod *staticPod) {
	if pod.told.IsZero() {
		pod.told = time.Now()
		h.world.resign(pod)
		return
	}
	h.world.never("the API server on %s was told to stop twice within %s", h.Name(), time.Since(pod.told))
}

// deaf says of an API server that ends that it listens no more.
func (pod *staticPod) deaf() bool {
	return !pod.told.IsZero() && time.Since(pod.told) >= apiHooks
}

// neverCut is broken where the kubelet's signal follows the first one too soon:
// the second one cuts what the API server is still answering.
func (h *Host) neverCut(pod *staticPod) {
	const answers = 10 * time.Second
	if since := pod.endAt.Add(-podNotice).Sub(pod.told); !pod.told.IsZero() && since < answers {
		h.world.never("the API server on %s was told to stop twice within %s", h.Name(), since)
	}
}

// endTold ends an API server whose shutdown is over. The kubelet starts its pod
// again.
func (h *Host) endTold(name string, pod *staticPod, now time.Time) {
	if pod.told.IsZero() || now.Before(pod.told.Add(apiShutdown)) {
		return
	}
	h.stop(pod.proc)
	h.pods[name] = &staticPod{text: pod.text, startAt: now.Add(podStart), endAt: pod.endAt}
}

// settleLeases keeps the leases of the API servers that are ready.
func (w *World) settleLeases() {
	for _, h := range w.all() {
		for _, pod := range h.apiServers() {
			address := leaseOf(pod)
			if address == "" || w.notReady(h, pod) != nil {
				continue
			}
			if _, there := w.store().keys[masterLeases+address]; !there {
				w.store().keys[masterLeases+address] = key{value: address}
			}
			w.publish()
		}
	}
}

// publish writes the endpoints of the kubernetes Service.
func (w *World) publish() {
	slice := lookup[*discoveryv1.EndpointSlice](w.objects, "endpointslices", "default", "kubernetes")
	if slice == nil {
		return
	}
	var addresses []string
	for name, k := range w.store().keys {
		if strings.HasPrefix(name, masterLeases) {
			addresses = append(addresses, k.value)
		}
	}
	slice.Endpoints = nil
	for _, a := range unique(addresses) {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
}

// proxyLag is how long a kube-proxy takes to follow the endpoints.
const proxyLag = 2 * time.Second

// settleProxies lets the kube-proxies follow the endpoints. Where these are
// emptied or filled they do so at once: what clients notice then is told by
// the Service itself.
func (w *World) settleProxies(now time.Time) {
	var want []string
	if slice := lookup[*discoveryv1.EndpointSlice](w.objects, "endpointslices", "default", "kubernetes"); slice != nil {
		for _, e := range slice.Endpoints {
			want = append(want, e.Addresses...)
		}
	}
	switch {
	case slices.Equal(want, w.proxied):
		w.followAt = time.Time{}
	case w.followAt.IsZero() && len(want) > 0 && len(w.proxied) > 0:
		w.followAt = now.Add(proxyLag)
	case !now.Before(w.followAt):
		w.proxied, w.followAt = want, time.Time{}
	}
}

// everyEndpoint is the error that some client of the Service is refused, who
// is sent to one of several API servers at random. That there is none at all
// is the Service's own outage.
func (w *World) everyEndpoint(from *Host) error {
	if len(w.proxied) < 2 {
		return nil
	}
	for _, address := range w.proxied {
		r, err := w.route(from, address+":"+apiPort)
		switch {
		case err != nil:
			return err
		case r.kind != apiServer || r.pod.serving == nil:
			return errRefused
		}
		if err := errors.Join(w.notReady(r.host, r.pod), r.pod.serving.Leaf.VerifyHostname(serviceIP)); err != nil {
			return err
		}
	}
	return nil
}

// serviceAddress is where kube-proxy sends a connection to the kubernetes
// Service, "" where it refuses it.
func (w *World) serviceAddress() string {
	slice := lookup[*discoveryv1.EndpointSlice](w.objects, "endpointslices", "default", "kubernetes")
	if slice == nil || len(slice.Endpoints) == 0 {
		return ""
	}
	return slice.Endpoints[0].Addresses[0] + ":" + apiPort
}

func (w *World) routeAPI(at *Host, ip string, port int) (route, bool) {
	pod := at.apiServer(strconv.Itoa(port))
	return route{kind: apiServer, host: at, port: strconv.Itoa(port), pod: pod}, pod != nil && !pod.deaf() && pod.listensAt(ip)
}

// listensAt: with a --bind-address it listens there and nowhere else.
func (pod *staticPod) listensAt(ip string) bool {
	bind := net.ParseIP(pod.proc.flags["bind-address"])
	return bind == nil || bind.IsUnspecified() || bind.Equal(net.ParseIP(ip))
}

// reach says why a client on h does not get an answer from an API server.
func (w *World) reach(h *Host, server string) error {
	u, err := url.Parse(server)
	if err != nil {
		return errors.New("no server")
	}
	return w.reachAt(h, server, u.Hostname())
}

// reachAt is reach for a client that knows the server's address already.
func (w *World) reachAt(h *Host, server, address string) error {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || address == "" {
		return errors.New("no server")
	}
	r, err := w.route(h, net.JoinHostPort(address, u.Port()))
	if err != nil {
		return err
	}
	if r.kind != apiServer {
		return errRefused
	}
	if err := w.notReady(r.host, r.pod); err != nil {
		return err
	}
	if r.pod.serving == nil {
		return errors.New("there is no serving certificate")
	}
	return r.pod.serving.Leaf.VerifyHostname(u.Hostname())
}

// ails says what is wrong with an API server, at its start or later.
func (w *World) ails(flags map[string]string, atStart bool) error {
	if w.ill != nil && w.illAtStart == atStart && w.ill(flags) {
		return errors.New("it does not like its arguments")
	}
	return nil
}
