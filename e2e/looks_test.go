package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// readerUser is who may only look.
const readerUser = "reader"

// sudoersOf is what the program prints for one host.
func (s *scenario) sudoersOf(t *testing.T, spec string, more ...string) map[string]string {
	t.Helper()
	var list []struct {
		Host string `json:"host"`
		File string `json:"file"`
	}
	r := s.bin.must(t, 0, planLimit, append([]string{"sudoers", "--file", spec, "-o", "json"}, more...)...)
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range list {
		files[f.Host] = f.File
	}
	return files
}

// addUser lets somebody into a host with the playground's key and what the
// program printed for sudo, which visudo has read.
func (s *scenario) addUser(t *testing.T, name, user, file string) {
	t.Helper()
	if file == "" {
		t.Fatalf("no sudoers file was printed for %s", name)
	}
	s.pg.hosts[name].must(t, strings.NewReplacer("USER", user, "LOGIN", s.user(), "FILE", file).Replace(`set -e
id -u USER >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --gid users --password '*' USER
install -d -m 0700 -o USER -g users /home/USER/.ssh
install -m 0600 -o USER -g users ~LOGIN/.ssh/authorized_keys /home/USER/.ssh/authorized_keys
umask 0337
cat > /etc/sudoers.d/.USER <<'END_OF_SUDOERS'
FILEEND_OF_SUDOERS
visudo -cqf /etc/sudoers.d/.USER
mv /etc/sudoers.d/.USER /etc/sudoers.d/USER`))
}

// looksSuffice: a login that may only look sees what root sees, and can change
// nothing on any host.
func looksSuffice(t *testing.T, s *scenario) {
	spec := s.specWith(t, userLine, "${1} "+readerUser)
	files := s.sudoersOf(t, spec, "--read-only")
	for _, name := range sortedKeys(s.pg.hosts) {
		if files[name] != "" { // a spare host is in no spec
			s.addUser(t, name, readerUser, files[name])
		}
	}
	t.Cleanup(func() {
		for name := range files {
			s.afterwards(t, name, "rm -f /etc/sudoers.d/reader; loginctl terminate-user reader 2>/dev/null; ! id -u reader >/dev/null 2>&1 || userdel -f reader 2>/dev/null; rm -rf /home/reader")
		}
	})
	seesTheSame(t, s, spec)
	s.preflightLooks(t, spec)
	var w written
	unmarshal(t, s.bin.must(t, 0, planLimit, "init", "--file", filepath.Join(s.home(t), "migrate.yaml"), "-o", "json", readerUser+"@cp1"), &w)
	if w.Found.First.Address != s.pg.address("cp1") || len(w.Found.Workers) == 0 {
		t.Errorf("init found %+v", w.Found)
	}
	s.readerChangesNothing(t)
	r := s.bin.run(t, phaseLimit, s.migrateWith(spec, "run", "--yes")...)
	if r.code == 0 || !allowed.MatchString(r.stderr) {
		t.Errorf("run ended with exit code %d and said: %s", r.code, tail(r.stderr, 8))
	}
}

// allowed is the refusal of a change, with the command on a line of its own.
var allowed = regexp.MustCompile(`may only look: allow changes with\n  migrate sudoers --file \S+ .*--host \S+ \| ssh .*root@`)

// seesTheSame compares what the two logins are told, by all commands that only
// look. The two go through them side by side.
func seesTheSame(t *testing.T, s *scenario, spec string) {
	t.Helper()
	commands := []string{"plan", "status", "audit", "certs", "verify"}
	files := []string{s.specFile(), spec}
	said := [2][]result{}
	var both sync.WaitGroup
	for i, file := range files {
		both.Go(func() {
			for _, c := range commands {
				said[i] = append(said[i], s.bin.runDetached(planLimit, s.migrateWith(file, c, "-o", "json")...))
			}
		})
	}
	both.Wait()
	for n, command := range commands {
		var parts [2]any
		for i := range files {
			r := said[i][n]
			var report any
			if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
				t.Fatalf("%s with %s: %v; exit code %d, it said: %s", command, files[i], err, r.code, tail(r.stderr, 8))
			}
			parts[i] = map[string]any{"code": float64(r.code), "said": lasting(report)}
		}
		if d := differences(command, parts[0], parts[1]); len(d) > 0 {
			t.Errorf("a login that may only look sees something else: %s", strings.Join(d, "\n"))
		}
	}
}

// lasting is what was said without times, without the state of a kubelet that has
// no cluster yet and is started every few seconds, and without what a login that
// may only look says of what it did not look at.
func lasting(said any) any {
	switch v := said.(type) {
	case map[string]any:
		for key, value := range v {
			if key == "seconds" || key == "at" || key == "kubelet" || strings.HasSuffix(key, "Seconds") {
				delete(v, key)
			} else {
				v[key] = lasting(value)
			}
		}
	case []any:
		out := []any{}
		for _, value := range v {
			if m, is := value.(map[string]any); is && strings.Contains(fmt.Sprint(m["seen"]), "may only look") {
				continue
			}
			out = append(out, lasting(value))
		}
		return out
	case string:
		return passing.ReplaceAllString(v, "…")
	}
	return said
}

// passing is what is another thing at each look: an instant, and the number of
// the API's clients.
var passing = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z|\d+ are enough|clients need \d+|\d+ connections met`)

// preflightLooks: nothing blocks, and what was not looked at is told.
func (s *scenario) preflightLooks(t *testing.T, spec string) {
	t.Helper()
	r := s.bin.run(t, planLimit, s.migrateWith(spec, "preflight", "-o", "json")...)
	var report struct {
		Results []struct{ Check, Host, Severity, Seen string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("%v: %s", err, tail(r.stderr, 5))
	}
	unseen := map[string]bool{}
	for _, x := range report.Results {
		if strings.Contains(x.Seen, "may only look") {
			unseen[x.Check] = true
			if x.Severity != "warning" {
				t.Errorf("%s on %s is %q: %s", x.Check, x.Host, x.Severity, x.Seen)
			}
		} else if x.Severity == "blocking" {
			t.Errorf("%s blocks on %s: %s", x.Check, x.Host, x.Seen)
		}
	}
	if !unseen["DiskSync"] || !unseen["Ports"] {
		t.Errorf("what makes something is not told as not looked at: %v", unseen)
	}
}

// readerChangesNothing: what the file allows is used to change something, as
// somebody would who has got hold of the login.
func (s *scenario) readerChangesNothing(t *testing.T) {
	t.Helper()
	const look = "sudo -n -- /usr/bin/setpriv --reuid=reader --regid=65534 --clear-groups --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search -- "
	for name, attempts := range map[string][]string{
		"cp1": {
			look + "sh -c 'echo x >> /etc/kubernetes/manifests/etcd.yaml'", look + "touch /etc/cron.d/x", look + "systemctl restart kubelet", look + "systemctl stop cron", look + "kill -0 $(pidof kubelet)",
			look + "ctr -n k8s.io images ls", look + "nft list ruleset", look + "setpriv --reuid=root id", look + "sudo -n id", "sudo -n id", "sudo -n sh -c id",
			"sudo -n -- cat /proc/1/../../etc/shadow", "sudo -n -- ss -K", "sudo -n -- ss -Htnp state established '( sport = :6443 )' -K", "sudo -n -- nft flush ruleset",
			"sudo -n -- find /proc -maxdepth 3 -delete", "sudo -n -- timeout 5 sh -c id", look + "sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'",
			"sudo -n -- /usr/bin/setpriv --reuid=root -- id", "sudo -n -- /usr/bin/setpriv --reuid=reader --regid=65534 --clear-groups --inh-caps=+all --ambient-caps=+all -- id",
		},
		"lb1": {look + "nginx -s stop", "sudo -n -- nginx -s stop", "sudo -n -- nginx -T -c /tmp/mine", look + "sh -c 'echo x >> /etc/nginx/nginx.conf'", look + "systemctl reload nginx",
			look + "socat -t5 - UNIX-CONNECT:/run/migrate-haproxy/admin.sock", "sudo -n -- socat -t5 - UNIX-CONNECT:/run/migrate-haproxy/admin.sock", "sudo -n -- socat - EXEC:id"},
	} {
		var script strings.Builder
		for i, a := range attempts {
			fmt.Fprintf(&script, "su reader -c %s </dev/null >/dev/null 2>&1 && echo 'attempt %d'\n", shellQuote(a), i)
		}
		out := s.pg.hosts[name].must(t, script.String()+"su reader -c "+shellQuote(look+"grep -q root /etc/shadow")+" && echo looked; true")
		for i, a := range attempts {
			if strings.Contains(out, fmt.Sprintf("attempt %d\n", i)) {
				t.Errorf("on %s somebody who may only look could run: %s", name, a)
			}
		}
		if !strings.Contains(out, "looked\n") {
			t.Errorf("on %s the reader could not even look: %s", name, out)
		}
	}
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
