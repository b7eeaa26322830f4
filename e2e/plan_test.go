package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const planLimit = 2 * time.Minute

// planned is one step of a plan on one target, as `plan -o json` writes it.
type planned struct {
	Phase   int    `json:"phase"`
	Step    string `json:"step"`
	Target  string `json:"target"`
	Finding struct {
		Verdict string `json:"verdict"`
		Reason  string `json:"reason"`
		Changes any    `json:"changes"`
	} `json:"finding"`
}

// plan asks for the whole plan and its steps in order.
func (s *scenario) plan(t *testing.T, code int) []planned {
	t.Helper()
	r := s.bin.must(t, code, planLimit, s.migrate("plan", "-o", "json", "--detailed-exitcode")...)
	var phases []struct {
		Steps []planned `json:"steps"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &phases); err != nil {
		t.Fatalf("reading plan -o json: %v\n%s", err, tail(r.stdout, 5))
	}
	if len(phases) != 3 {
		t.Fatalf("the plan has %d phases, not 3", len(phases))
	}
	var all []planned
	for _, p := range phases {
		all = append(all, p.Steps...)
	}
	return all
}

// planChangesNothing: asked twice, the plan is the same, and neither the
// cluster nor a file of a host has changed meanwhile.
func planChangesNothing(t *testing.T, s *scenario) {
	files := hostFiles(t, s.pg)
	etcd := s.pg.etcdOn(t, s.pg.hosts["cp1"], "127.0.0.1")
	was := dumpRegistry(t, etcd)

	first := s.plan(t, 2)
	second := s.plan(t, 2)
	s.bin.must(t, 0, planLimit, s.migrate("plan")...)
	s.bin.must(t, 0, planLimit, s.migrate("status")...)

	for i := range first {
		if i < len(second) {
			// It counts the clients of the API, and they come and go.
			forget(&first[i], &second[i], "loadbalancer/worker-connections")
		}
		if v := first[i].Finding.Verdict; v != "needed" && v != "satisfied" {
			t.Errorf("plan: %s on %s is %s: %s", first[i].Step, first[i].Target, v, first[i].Finding.Reason)
		}
	}
	a, b := toJSON(t, first), toJSON(t, second)
	if a != b {
		t.Errorf("two plans of one cluster differ:\n%s", strings.Join(differingLines(a, b), "\n"))
	}
	is := dumpRegistry(t, etcd)
	for _, key := range changedKeys(was, is) {
		if !idle(key) && !heartbeat(key, was, is) {
			t.Errorf("something was written while plan ran: %s", key)
		}
	}
	for host, before := range files {
		if after := filesOf(t, s.pg.hosts[host]); after != before {
			t.Errorf("files of %s changed while plan ran:\n%s", host, strings.Join(differingLines(before, after), "\n"))
		}
	}
	if _, err := os.Stat(s.journal); err == nil {
		t.Error("plan made a journal")
	}
}

// heartbeat says whether only a kubelet's word on a pod has changed: it says
// it again when it likes.
func heartbeat(key string, was, is dump) bool {
	before, there := was.values[key]
	after, still := is.values[key]
	return there && still && strings.HasPrefix(key, registry+"pods/") && difference(before, after, []string{managedFields, "status"}) == ""
}

func forget(a, b *planned, step string) {
	if a.Step == step && b.Step == step {
		a.Finding.Reason, b.Finding.Reason = "", ""
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// differingLines lists the lines that only one of two texts has.
func differingLines(a, b string) []string {
	count := map[string]int{}
	for line := range strings.Lines(a) {
		count[line]++
	}
	for line := range strings.Lines(b) {
		count[line]--
	}
	var out []string
	for _, line := range sortedKeys(count) {
		switch {
		case count[line] > 0:
			out = append(out, "- "+strings.TrimSpace(line))
		case count[line] < 0:
			out = append(out, "+ "+strings.TrimSpace(line))
		}
	}
	return out
}

// changedKeys lists the keys that were added, changed or removed.
func changedKeys(was, is dump) []string {
	changed := map[string]bool{}
	for key, value := range was.values {
		if now, there := is.values[key]; !there || !bytes.Equal(now, value) {
			changed[key] = true
		}
	}
	for key := range is.values {
		if _, there := was.values[key]; !there {
			changed[key] = true
		}
	}
	return sortedKeys(changed)
}

// filesOf lists the files that make a host what it is, with what would show a
// write, and the services that run.
func filesOf(t *testing.T, h host) string {
	t.Helper()
	// A kubelet that is in no cluster yet is started again every ten seconds.
	return h.must(t, `find /etc /opt /root /srv /usr/local /var/www /var/lib/migrate /var/lib/kubelet/config.yaml /var/lib/kubelet/pki \
	-xdev ! -path '/etc/kubernetes/audit/logs*' -printf '%p %y %m %U:%G %s %T@\n' 2>/dev/null | sort
systemctl list-units --type=service --type=socket --state=active --plain --no-legend | awk '{print $1}' | grep -v -e '^user' -e '^sshd\?@' |
	{ [ -e /etc/kubernetes/kubelet.conf ] && cat || grep -vx kubelet.service; } | sort`)
}

func hostFiles(t *testing.T, p *playground) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, h := range p.hosts {
		all[name] = filesOf(t, h)
	}
	return all
}

var knownHostsLine = regexp.MustCompile(`(?m)^(\s*knownHostsFile:).*$`)

// hostKeysAreChecked: a host that is unknown, and one that shows another key
// than the known one, are refused with the fingerprint that was shown.
func hostKeysAreChecked(t *testing.T, s *scenario) {
	known, err := os.ReadFile(s.pg.file("known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	var without, changed strings.Builder
	fingerprints := map[string]bool{}
	for line := range strings.Lines(string(known)) {
		names, key, _ := strings.Cut(line, " ")
		switch {
		case strings.Contains(names, s.pg.address("cp1")):
			fingerprints[fingerprint(t, line)] = true
			continue // its place is taken below
		case strings.Contains(names, s.pg.address("w1")):
			changed.WriteString(s.pg.address("cp1") + " " + key)
		}
		without.WriteString(line)
		changed.WriteString(line)
	}
	for what, file := range map[string]string{"unknown": without.String(), "changed": changed.String()} {
		spec := s.specWith(t, knownHostsLine, "${1} "+writeTemp(t, "known_hosts", file))
		r := s.bin.run(t, planLimit, s.migrateWith(spec, "plan")...)
		if r.code != 1 && r.code != 3 {
			t.Errorf("%s host key: plan ended with exit code %d, not 1 or 3", what, r.code)
		}
		shown := false
		for f := range fingerprints {
			shown = shown || strings.Contains(r.stderr, f)
		}
		if !shown {
			t.Errorf("%s host key: plan did not say the fingerprint of the key that cp1 showed: %s", what, tail(r.stderr, 5))
		}
	}
}

// specWith writes a copy of the spec file with one line changed.
func (s *scenario) specWith(t *testing.T, line *regexp.Regexp, with string) string {
	t.Helper()
	data, err := os.ReadFile(s.specFile())
	if err != nil {
		t.Fatal(err)
	}
	if !line.Match(data) {
		t.Fatalf("the spec file has no line like %s", line)
	}
	// Later stages may use it, too.
	return writeTemp(s.top, "migrate.yaml", string(line.ReplaceAll(data, []byte(with))))
}

func writeTemp(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
