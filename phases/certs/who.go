package certs

import (
	"crypto/x509"
	"path"
	"strings"

	"hamigrate/migrate"
	"hamigrate/phases/survey"
)

// Renewer is who renews a certificate.
type Renewer string

// The renewers. Nobody has a way in Certificate.How, which for the members'
// certificates and the API servers' client certificate is this program's own.
const (
	Kubeadm Renewer = "kubeadm"
	Kubelet Renewer = "kubelet"
	Nobody  Renewer = "nobody"
	Unused  Renewer = "unused"
)

// RenewCommand is the way of those that nobody else renews.
const RenewCommand = "migrate certs renew"

// classifier knows what it depends on who renews a certificate.
type classifier struct {
	external bool   // kubeadm-config says that etcd is not kubeadm's
	dir      string // kubeadm's certificatesDir
	client   string // the first API server's client certificate for etcd
	member   string // the folder of a member's certificates
	host     survey.Target
	rotates  bool // the host's kubelet renews its client certificate
}

// who says who renews a certificate, and how. The rules of kubeadm are those
// of its renewal manager (kubeadm: app/phases/certs/renewal/manager.go): with
// etcd.external it knows none of etcd's certificates any more, the API
// servers' client certificate among them; kubelet.conf it never knew.
func (c classifier) who(file string, cert *x509.Certificate) (Renewer, string) {
	plane := c.host.Role == migrate.FirstControlPlane || c.host.Role == migrate.JoiningControlPlanes
	switch {
	case cert.IsCA:
		return Nobody, "a CA: all that it signed is replaced with it, by hand (kubernetes.io: Manual Rotation of CA Certificates)"
	case path.Dir(file) == c.member:
		return Nobody, RenewCommand
	case strings.HasPrefix(file, "/var/lib/kubelet/"):
		return c.kubelets(file)
	case path.Base(file) == "kubelet.conf":
		return Nobody, "kubelet.conf embeds it, so rotation does not reach it: let client-certificate and client-key name /var/lib/kubelet/pki/kubelet-client-current.pem, then restart the kubelet"
	case !plane:
		return Nobody, "not made by kubeadm: whoever made it"
	case file == c.client || path.Base(file) == "apiserver-etcd-client.crt":
		if c.external {
			return Nobody, RenewCommand
		}
	case path.Dir(file) == path.Join(c.dir, "etcd"):
		if c.external {
			return Unused, "of the member that was here before; nothing reads it any more"
		}
	case !kubeadms(file):
		return Nobody, "not made by kubeadm: whoever made it"
	}
	return Kubeadm, "`kubeadm certs renew` or the next `kubeadm upgrade`" + restarts(file)
}

// kubeadms says whether kubeadm makes a file of this name.
func kubeadms(file string) bool {
	switch path.Base(file) {
	case "apiserver.crt", "apiserver-kubelet-client.crt", "front-proxy-client.crt",
		"admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf":
		return true
	}
	return false
}

// restarts is what is to be restarted after kubeadm has renewed: the API
// server re-reads its own, the other two read their kubeconfig once.
func restarts(file string) string {
	switch path.Base(file) {
	case "controller-manager.conf", "scheduler.conf":
		return ", then a restart of that static pod"
	}
	return ""
}

func (c classifier) kubelets(file string) (Renewer, string) {
	switch path.Base(file) {
	case "kubelet.crt":
		return Nobody, "nobody checks it unless the API server has --kubelet-certificate-authority: remove it with its key and restart the kubelet, which makes another"
	case "kubelet-server-current.pem":
		return Kubelet, "rotation, where somebody approves its requests (`kubectl get csr`)"
	}
	if !c.rotates {
		return Nobody, "rotateCertificates is not true in /var/lib/kubelet/config.yaml: set it to true and restart the kubelet"
	}
	return Kubelet, "rotation, while it runs and reaches the API"
}
