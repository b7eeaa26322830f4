package e2e

import (
	"regexp"
	"strings"
	"testing"
)

var userLine = regexp.MustCompile(`(?m)^(\s*user:).*$`)

// userWithSudo lets somebody who is not root into every host, with the
// playground's key and a sudo that asks for no password, and writes a spec
// that uses it. Where the whole playground is like that, it is used as it is.
func (s *scenario) userWithSudo(t *testing.T) string {
	t.Helper()
	if s.sudo {
		return s.specFile()
	}
	for _, name := range sortedKeys(s.pg.hosts) {
		// Debian has a group of that name already.
		s.pg.hosts[name].must(t, strings.ReplaceAll(`set -e
id -u USER >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --gid users --password '*' USER
install -d -m 0700 -o USER -g users /home/USER/.ssh
install -m 0600 -o USER -g users ~root/.ssh/authorized_keys /home/USER/.ssh/authorized_keys
echo 'USER ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/USER
chmod 0440 /etc/sudoers.d/USER`, "USER", sudoUser))
	}
	return s.specWith(t, userLine, "${1} "+sudoUser)
}

// forwardWithSudo goes all the way again, after the way back, as a user with
// sudo and with a journal of its own.
func forwardWithSudo(t *testing.T, s *scenario) {
	spec := s.userWithSudo(t)
	s.journal = s.journal + ".sudo"
	s.writers = append(s.writers, startWriter(t, s.pg, "with-sudo", s.pg.api("cp1")))
	s.spec = spec
	r := s.bin.must(t, 0, runLimit, s.measured("run", "--yes", "-o", "json")...)
	s.alone = false
	if list := events(t, r.stdout); list[len(list)-1].Kind != "phase-done" || list[len(list)-1].Phase != 3 {
		t.Errorf("the last event of the run is %v, not the end of phase 3", list[len(list)-1])
	}
	t.Logf("with sudo, a whole run took %.0f s", r.seconds)
	s.noFailures(t)
}
