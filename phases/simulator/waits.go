package simulator

import (
	"path"
	"slices"
)

// waiting notes of a script that its command says that it runs programs of others
// (remote.Command.Waits), and returns it. It goes by the text: a detached command runs
// it again for the program that comes next.
func (m *memo) waiting(script string) string {
	m.waits.Store(script, true)
	return script
}

// othersPrograms take a time of their own, which is told apart from the migration's.
var othersPrograms = []string{"apt-get", "crictl", "dnf", "etcd", "etcdctl", "etcdutl", "haproxy", "kubeadm", "nginx", "systemctl", "systemd-run"}

// mayRun is broken by a command that runs a program of others and has not said so: its
// time would be told as the migration's own. The caller holds world.mu.
func (s *session) mayRun(name string) {
	if name = path.Base(name); !s.waits && slices.Contains(othersPrograms, name) {
		s.host.world.never("a command on %s runs %s, and does not say so (remote.Command.Waits): %.300s", s.host.Name(), name, s.script)
	}
}
