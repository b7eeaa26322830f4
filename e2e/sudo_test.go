package e2e

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
)

var (
	userLine   = regexp.MustCompile(`(?m)^(\s*user:).*$`)
	nginxHosts = regexp.MustCompile(`(?m)^    kind: nginx\n    hosts: .*$`)
)

// userWithSudo lets somebody who is not root into every host, with the
// playground's key and the sudoers file that the program prints for the whole
// migration, and writes a spec that uses it. Where the whole playground is like
// that, it is used as it is.
func (s *scenario) userWithSudo(t *testing.T) string {
	t.Helper()
	if s.sudo {
		return s.specFile()
	}
	spec := s.specWith(t, userLine, "${1} "+sudoUser)
	for name, file := range s.sudoersOf(t, spec) {
		s.addUser(t, name, sudoUser, file)
	}
	return spec
}

// printedSudoers puts what the program prints in the place of all rights, where
// the whole playground has a user with sudo.
func printedSudoers(t *testing.T, s *scenario) {
	for name, file := range s.sudoersOf(t, s.specFile()) {
		s.pg.hosts[name].must(t, "set -e; umask 0337; cat > /etc/sudoers.d/.new <<'END_OF_SUDOERS'\n"+file+
			"END_OF_SUDOERS\nvisudo -cqf /etc/sudoers.d/.new; mv /etc/sudoers.d/.new /etc/sudoers.d/"+sudoUser)
	}
}

// forwardWithSudo goes all the way again, after the way back, as a user with
// sudo and with a journal of its own. The load balancer, which is there since
// somebody has done phase 1 by hand, is somebody else's now.
func forwardWithSudo(t *testing.T, s *scenario) {
	s.spec = s.userWithSudo(t)
	s.spec = s.specWith(t, nginxHosts, "    kind: external")
	s.journal = s.journal + ".sudo"
	s.writers = append(s.writers, startWriter(t, s.pg, "with-sudo", s.pg.api("cp1")))
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	p, err := s.bin.start(ctx, nil, s.measured("run", "--yes", "-o", "json")...)
	if err != nil {
		t.Fatal(err)
	}
	var owner sync.WaitGroup
	owner.Go(func() {
		for _, name := range []string{"cp2", "cp3"} {
			s.addsBackend(t, p, name)
		}
	})
	r := p.finish()
	owner.Wait()
	if r.code != 0 {
		t.Fatalf("the run ended with exit code %d; it said:\n%s", r.code, tail(r.stderr, 25))
	}
	s.alone = false
	if list := events(t, r.stdout); list[len(list)-1].Kind != "phase-done" || list[len(list)-1].Phase != 3 {
		t.Errorf("the last event of the run is %v, not the end of phase 3", list[len(list)-1])
	}
	t.Logf("with sudo, a whole run took %.0f s", r.seconds)
	s.noFailures(t)
}

// addsBackend is what the owner of the load balancer does once the run says so.
func (s *scenario) addsBackend(t *testing.T, p *process, name string) {
	asked := "Add " + s.pg.api(name) + " to the backends of " + s.pg.endpoint()
	err := poll(t.Context(), runLimit, func(context.Context) error {
		select {
		case <-p.ended:
			return nil
		default:
		}
		if !strings.Contains(p.stderr.String(), asked) {
			return errors.New("the run did not ask for it")
		}
		return nil
	})
	if err != nil || !strings.Contains(p.stderr.String(), asked) {
		t.Errorf("the run did not say %q, error %v", asked, err)
		return
	}
	_, err = s.pg.hosts["lb1"].run(soon(t), strings.NewReplacer("FIRST", s.pg.api("cp1"), "ADDED", s.pg.api(name)).Replace(
		`sed -i 's/^\( *\)server FIRST\(.*\)/&\n\1server ADDED\2/' $(grep -rlE '^ *server FIRST' /etc/nginx) && nginx -t -q && systemctl reload nginx`))
	if err != nil {
		t.Errorf("adding %s to the load balancer: %v", name, err)
	}
}
