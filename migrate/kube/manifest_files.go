package kube

import (
	"path"
	"regexp"
	"strings"
)

// Within says whether p is dir or below it.
func Within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// Written says of the node's files what the pod's program writes there: its
// logs. Nothing of it is carried to another node or is of use in a backup.
type Written struct{ files, dirs []string }

// Written reads it from the flags, as paths of the node.
func (m Manifest) Written() Written {
	var w Written
	for _, f := range m.Flags() {
		host, ok := m.OnHost(f.Value)
		switch {
		case !ok:
		case f.Name == "audit-log-path" || f.Name == "log-file":
			w.files = append(w.files, host)
		case f.Name == "log-dir":
			w.dirs = append(w.dirs, host)
		}
	}
	return w
}

// Join is what both say.
func (w Written) Join(o Written) Written {
	return Written{append(append([]string{}, w.files...), o.files...), append(append([]string{}, w.dirs...), o.dirs...)}
}

// Has says whether a file is one of them: the log itself, or one that was
// rotated away, audit-2026-01-02T03-04-05.678.log and the same with .gz
// (natefinch/lumberjack: backupName, compressSuffix).
func (w Written) Has(file string) bool {
	for _, dir := range w.dirs {
		if Within(file, dir) {
			return true
		}
	}
	for _, log := range w.files {
		ext := path.Ext(log)
		rest, sibling := strings.CutPrefix(file, strings.TrimSuffix(log, ext)+"-")
		if file == log || sibling && rotated.MatchString(strings.TrimSuffix(strings.TrimSuffix(rest, ".gz"), ext)) {
			return true
		}
	}
	return false
}

var rotated = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T[\d.-]+$`)

// ofKubeadm are the names below the certificates folder that kubeadm makes or
// uploads itself (kubeadm: phases/copycerts and phases/certs).
var ofKubeadm = regexp.MustCompile(`^(ca|sa|front-proxy-ca|front-proxy-client|apiserver|apiserver-kubelet-client|apiserver-etcd-client|etcd/(ca|server|peer|healthcheck-client))\.(crt|key|pub)$`)

// OfKubeadm says whether a name below the certificates folder is kubeadm's.
func OfKubeadm(below string) bool { return ofKubeadm.MatchString(below) }

// caKeyName matches the usual names of a CA's private key, and of the copies
// that people and editors make of it: ca.key.bak, ca.key~, ca-key.pem.old.
var caKeyName = regexp.MustCompile(`(?i)(^|[-_.])ca[-_.]?key([^a-z].*)?$`)

// NamedLikeCAKey says whether a file is named like the private key of a CA.
func NamedLikeCAKey(file string) bool { return caKeyName.MatchString(path.Base(file)) }
