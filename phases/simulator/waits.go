package simulator

import (
	"path"
	"slices"
)

// waitsMark begins the script of a command that says that it runs a program of others
// (remote.Command.Waits), behind lookMark where that is one too.
const waitsMark = ": waits\n"

// othersPrograms take a time of their own, which is told apart from the migration's.
var othersPrograms = []string{"apt-get", "crictl", "dnf", "etcd", "etcdctl", "etcdutl", "haproxy", "kubeadm", "nginx", "systemctl", "systemd-run"}

// mayRun is broken by a command that runs a program of others and has not said so: its
// time would be told as the migration's own. The caller holds world.mu.
func (s *session) mayRun(name string) {
	if name = path.Base(name); !s.waits && slices.Contains(othersPrograms, name) {
		s.host.world.never("a command on %s runs %s, and does not say so (remote.Command.Waits): %.300s", s.host.Name(), name, s.script)
	}
}
