package simulator

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/kube"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type localEndpoint struct {
	AdvertiseAddress string `json:"advertiseAddress"`
}

// kubeadm plays the sub-commands in use.
func kubeadm(p program) error {
	flags, words := p.options("--config")
	switch line := strings.Join(words, " "); {
	case strings.HasPrefix(line, "init phase certs "):
		return p.initCerts(words[3], flags["--config"])
	case line == "init phase upload-certs":
		return p.uploadCerts(flags["--config"])
	case line == "init phase control-plane all":
		return p.renderManifests(flags["--config"])
	case line == "version short": // version -o short
		p.out("%s\n", installedVersion(p.host, "/usr/bin/kubeadm"))
		return nil
	case line == "join":
		return p.join(flags["--config"])
	case line == "reset":
		return p.reset(flags)
	default:
		return fmt.Errorf("%q is not played", line)
	}
}

// initCerts signs one certificate; one that is there is kept, as kubeadm does.
func (p program) initCerts(name, file string) error {
	node, cc, err := p.configuration(file)
	if err != nil {
		return err
	}
	dir, self, address := cc.CertificatesDir, node.NodeRegistration.Name, node.LocalAPIEndpoint.AdvertiseAddress
	local := []string{self, "localhost", address, "127.0.0.1", "::1"}
	switch name {
	case "apiserver":
		return p.host.signFile(dir, "ca", "apiserver", leaf{name: "kube-apiserver", sans: apiServerNames(cc, self, address), usages: serving()})
	case "apiserver-etcd-client", "etcd-healthcheck-client":
		if cc.Etcd.Local == nil {
			return errors.New("etcd is external: there is nothing to sign")
		}
		file := strings.Replace(name, "etcd-healthcheck", "etcd/healthcheck", 1)
		return p.host.signFile(dir, "etcd/ca", file, leaf{name: "kube-" + name, usages: client()})
	case "etcd-server", "etcd-peer":
		if cc.Etcd.Local == nil {
			return errors.New("etcd is external: there is nothing to sign")
		}
		sans := append(local, cc.Etcd.Local.ServerCertSANs...)
		if name == "etcd-peer" {
			sans = append(local, cc.Etcd.Local.PeerCertSANs...)
		}
		return p.host.signFile(dir, "etcd/ca", "etcd/"+strings.TrimPrefix(name, "etcd-"), leaf{name: self, sans: unique(sans), usages: both()})
	}
	return fmt.Errorf("certificate %q is not played", name)
}

// uploadCerts writes the Secret, with a token as its life-time.
func (p program) uploadCerts(file string) error {
	node, cc, err := p.configuration(file)
	if err != nil {
		return err
	}
	w := p.host.world
	if err := w.reach(p.host, serverOf(p.host.read("/etc/kubernetes/admin.conf"))); err != nil {
		return fmt.Errorf("uploading certificates: %w", err)
	}
	if decoded, err := hex.DecodeString(node.CertificateKey); err != nil || len(decoded) != 32 {
		return errors.New("certificateKey: invalid key")
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kubeadm-certs"}, Data: map[string][]byte{}}
	for name, from := range cc.transferred() {
		secret.Data[name] = []byte(seal(node.CertificateKey) + p.host.read(from))
	}
	w.tokenCount++
	ttl := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: fmt.Sprintf("bootstrap-token-ttl%03d", w.tokenCount)},
		Type:       corev1.SecretTypeBootstrapToken,
		Data: map[string][]byte{
			"token-id": fmt.Appendf(nil, "ttl%03d", w.tokenCount), "expiration": []byte(time.Now().Add(2 * time.Hour).UTC().Format(time.RFC3339)),
			"description": []byte("Proxy for managing TTL for the kubeadm-certs secret"),
		},
	}
	if err := w.create("secrets", ttl); err != nil {
		return err
	}
	secret.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Secret", Name: ttl.Name, UID: ttl.UID}}
	delete(w.objects.items, objectKey{"secrets", "kube-system", "kubeadm-certs"})
	return w.create("secrets", secret)
}

// reset removes what kubeadm's reset removes; the Node object stays.
func (p program) reset(flags map[string]string) error {
	h := p.host
	if _, ok := flags["--skip-phases=remove-etcd-member"]; !ok {
		h.world.never("kubeadm reset on %s was to touch etcd's membership", h.Name())
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(flags)), func(f string) bool { return strings.HasPrefix(f, "--cri-socket=unix://") }) {
		h.world.never("kubeadm reset on %s was to look for the runtime by itself, and stops where there are two", h.Name())
	}
	if node := h.world.node(h.Name()); node != nil && h.world.notReady(h, h.apiServer(apiPort)) == nil && h.behindBalancer() {
		h.world.never("%s was reset while it served behind the load balancer", h.Name())
	}
	if slices.Contains(h.world.proxied, h.address) {
		h.world.never("%s was reset while kube-proxies sent clients there", h.Name())
	}
	if u := h.units["kubelet.service"]; u != nil {
		h.stopUnit(u)
	}
	h.kubelet.server = ""
	p.sleep(2 * time.Second)
	for name, pod := range h.pods {
		h.world.resign(pod)
		h.stop(pod.proc)
		delete(h.pods, name)
	}
	certificates := pkiDir
	for flag := range flags {
		if dir, ok := strings.CutPrefix(flag, "--cert-dir="); ok {
			certificates = dir
		}
	}
	for _, dir := range []string{kube.ManifestsDir, certificates, "/var/lib/kubelet"} {
		names, err := h.Fake.List(p.ctx, dir)
		if err != nil {
			continue
		}
		for _, n := range names {
			h.remove(path.Join(dir, n))
		}
	}
	for _, name := range []string{"admin", "super-admin", "kubelet", "bootstrap-kubelet", "controller-manager", "scheduler"} {
		if file := "/etc/kubernetes/" + name + ".conf"; h.has(file) {
			h.remove(file)
		}
	}
	return nil
}

// behindBalancer says whether a load balancer forwards to the host.
func (h *Host) behindBalancer() bool {
	return slices.ContainsFunc(h.world.all(), func(lb *Host) bool {
		if lb.haproxyActive() && slices.ContainsFunc(lb.haproxy.servers, func(s haproxyServer) bool { return s.address == h.address+":6443" && s.admin&1 == 0 }) {
			return true
		}
		for _, backends := range lb.nginx.streams {
			if slices.Contains(backends, h.address+":6443") {
				return true
			}
		}
		return false
	})
}
