package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// home gives the calls of this stage a home folder with an ssh configuration
// that reaches every host of the playground, and returns the folder.
func (s *scenario) home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	user := "root"
	if s.sudo {
		user = sudoUser
	}
	config := fmt.Sprintf("Host cp1\n  HostName %s\nHost cp1 198.18.0.*\n  User %s\n  IdentityFile %s\n  UserKnownHostsFile %s\n",
		s.pg.address("cp1"), user, s.pg.file("id_ed25519"), s.pg.file("known_hosts"))
	if err := os.Mkdir(filepath.Join(dir, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".ssh", "config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", dir)
	return dir
}

// written is what `init -o json` says, as far as it is of use here.
type written struct {
	Found struct {
		KubernetesVersion string `json:"kubernetesVersion"`
		First             node   `json:"first"`
		Workers           []node `json:"workers"`
	} `json:"found"`
	Blanks []struct {
		Line  int    `json:"line"`
		Field string `json:"field"`
	} `json:"blanks"`
}

type node struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// specIsWritten is the first contact: init writes a spec with blanks, which no
// command takes; with the blanks filled in preflight lets it pass, and the plan
// is the same as that of the playground's own spec.
func specIsWritten(t *testing.T, s *scenario) {
	file := filepath.Join(s.home(t), "migrate.yaml")
	var w written
	unmarshal(t, s.bin.must(t, 0, planLimit, "init", "--file", file, "-o", "json", "cp1"), &w)
	want := []node{{"w1", s.pg.address("w1")}, {"w2", s.pg.address("w2")}}
	if w.Found.First != (node{"cp1", s.pg.address("cp1")}) || !slices.Equal(w.Found.Workers, want) || strings.TrimPrefix(w.Found.KubernetesVersion, "v") != s.kubernetes {
		t.Errorf("init found %+v", w.Found)
	}
	blank, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if r := s.bin.run(t, planLimit, "init", "--file", file, "cp1"); r.code != 1 || !strings.Contains(r.stderr, file) {
		t.Errorf("a second init ended with exit code %d and said: %s", r.code, tail(r.stderr, 5))
	}
	if again, err := os.ReadFile(file); err != nil || string(again) != string(blank) {
		t.Errorf("a second init changed the file, error %v", err)
	}
	s.blanksAreTold(t, file, w)

	if err := os.WriteFile(file, []byte(s.fillIn(t, string(blank), w)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.preflightPasses(t, file)
	if own, filled := s.planned(t, s.specFile()), s.planned(t, file); !slices.Equal(own, filled) {
		t.Errorf("the plan of the spec that init wrote differs:\n%s", strings.Join(differingLines(strings.Join(own, "\n"), strings.Join(filled, "\n")), "\n"))
	}
}

// blanksAreTold: a command that gets a spec with blanks names each of them.
func (s *scenario) blanksAreTold(t *testing.T, file string, w written) {
	t.Helper()
	r := s.bin.run(t, planLimit, "plan", "--file", file)
	if r.code != 1 || len(w.Blanks) != 13 {
		t.Errorf("plan with %d blanks ended with exit code %d: %s", len(w.Blanks), r.code, tail(r.stderr, 5))
	}
	for _, b := range w.Blanks {
		if where := fmt.Sprintf("%s:%d: %s:", file, b.Line, b.Field); !strings.Contains(r.stderr, where) {
			t.Errorf("plan does not say %q of a blank: %s", where, r.stderr)
		}
	}
}

var afterName = regexp.MustCompile(`:\s*#.*$`)

// fillIn does what a person does with a spec that has blanks, by the hosts of
// the playground, and adds how nodes join it.
func (s *scenario) fillIn(t *testing.T, text string, w written) string {
	t.Helper()
	values := map[string]string{"spec.endpoint": s.pg.endpoint()}
	for list, names := range map[string][]string{"loadBalancer.hosts": {"lb1"}, "etcd.hosts": etcdHosts(), "controlPlane.joining": {"cp2", "cp3"}} {
		for i, name := range names {
			values[fmt.Sprintf("spec.%s[%d].name", list, i)] = name
			values[fmt.Sprintf("spec.%s[%d].address", list, i)] = s.pg.address(name)
		}
	}
	lines := strings.Split(text, "\n")
	for _, b := range w.Blanks {
		value, there := values[b.Field]
		if !there {
			t.Fatalf("init left a blank for %s", b.Field)
		}
		lines[b.Line-1] = afterName.ReplaceAllString(lines[b.Line-1], ": "+value)
	}
	join := s.pg.spec.Spec.ControlPlane.Join
	filled := balancerKind.ReplaceAllString(strings.TrimRight(strings.Join(lines, "\n"), "\n"), "${1}"+s.shape)
	return filled +
		fmt.Sprintf("\n    join:\n      patches: %q\n      ignorePreflightErrors: [%s]\n", join.Patches, strings.Join(join.IgnorePreflightErrors, ", "))
}

// preflighted is what `preflight -o json` says.
type preflighted struct {
	Hosts   []string `json:"hosts"`
	Results []struct {
		Check    string `json:"check"`
		Host     string `json:"host"`
		Severity string `json:"severity"`
		Seen     string `json:"seen"`
	} `json:"results"`
	Seconds float64 `json:"seconds"`
}

// preflightPasses: nothing blocks, and every host was looked at.
func (s *scenario) preflightPasses(t *testing.T, file string) {
	t.Helper()
	var report preflighted
	unmarshal(t, s.bin.must(t, 0, planLimit, "preflight", "--file", file, "-o", "json"), &report)
	if len(report.Hosts) != len(s.pg.hosts)-1 || len(report.Results) < len(report.Hosts) { // the spare host is in no spec
		t.Errorf("preflight has %d results of %q", len(report.Results), report.Hosts)
	}
	for _, r := range report.Results {
		if r.Severity == "blocking" {
			t.Errorf("preflight: %s on %s: %s", r.Check, r.Host, r.Seen)
		}
	}
	t.Logf("preflight: %d results of %d hosts in %.1f s", len(report.Results), len(report.Hosts), report.Seconds)
}

// planned lists the steps of a spec's plan with their targets and verdicts.
func (s *scenario) planned(t *testing.T, file string) []string {
	t.Helper()
	was := s.spec
	s.spec = file
	defer func() { s.spec = was }()
	var out []string
	for _, p := range s.plan(t, 2) {
		out = append(out, fmt.Sprintf("%d %s on %s: %s", p.Phase, p.Step, p.Target, p.Finding.Verdict))
	}
	return out
}

// audited is a point of `audit -o json`.
type audited struct {
	Point     string   `json:"point"`
	State     string   `json:"state"`
	Seen      string   `json:"seen"`
	RemovedBy string   `json:"removedBy"`
	Remains   []string `json:"remains"`
	Otherwise string   `json:"otherwise"`
}

func (s *scenario) audit(t *testing.T) map[string]audited {
	t.Helper()
	var r struct {
		Points []audited `json:"points"`
		Unread []string  `json:"unread"`
	}
	unmarshal(t, s.bin.must(t, 0, planLimit, s.migrate("audit", "-o", "json")...), &r)
	if len(r.Unread) > 0 {
		t.Errorf("audit did not read %q", r.Unread)
	}
	out := map[string]audited{}
	for _, p := range r.Points {
		out[p.Point] = p
	}
	return out
}

// controlPlanePoints are what the migration is for.
var controlPlanePoints = []string{"APIServer", "ControllerManager", "Etcd", "Scheduler"}

// auditBefore finds what there is once, and what the migration will add.
func auditBefore(t *testing.T, s *scenario) {
	s.before.audit = s.audit(t)
	for _, name := range controlPlanePoints {
		if p := s.before.audit[name]; p.State != "single" || !strings.HasPrefix(p.RemovedBy, "phase") {
			t.Errorf("audit before: %+v", p)
		}
	}
	if p := s.before.audit["LoadBalancer"]; p.State != "added by the migration" {
		t.Errorf("audit before: %+v", p)
	}
}

// auditAfter: what audit promised before has come true, and of what is still
// there once it says what to do.
func auditAfter(t *testing.T, s *scenario) {
	after := s.audit(t)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		was, is := s.before.audit[name], after[name]
		promised := was.State == "single" && strings.HasPrefix(was.RemovedBy, "phase") && len(was.Remains) == 0
		if promised && is.State != "redundant" {
			t.Errorf("audit said before that %s removes %s, and says now that it is %s: %s", was.RemovedBy, name, is.State, is.Seen)
		}
		if is.State == "single" && is.Otherwise == "" && len(is.Remains) == 0 {
			t.Errorf("audit after: %s is there once, and nothing is said of what to do: %s", name, is.Seen)
		}
		if was.State != is.State {
			t.Logf("%s: %s before, %s now: %s", name, was.State, is.State, is.Seen)
		}
	}
	for _, name := range controlPlanePoints {
		if after[name].State != "redundant" {
			t.Errorf("audit after: %+v", after[name])
		}
	}
	if after["LoadBalancer"].State != "single" {
		t.Errorf("audit after: %+v", after["LoadBalancer"])
	}
}

// verified is what `verify -o json` says.
type verified struct {
	Hosts    []string `json:"hosts"`
	Degraded bool     `json:"degraded"`
	Seconds  float64  `json:"seconds"`
	Results  []struct {
		Check  string `json:"check"`
		Host   string `json:"host"`
		OK     bool   `json:"ok"`
		Seen   string `json:"seen"`
		Remedy string `json:"remedy"`
	} `json:"results"`
}

func (s *scenario) verify(t *testing.T, code int) verified {
	t.Helper()
	var v verified
	unmarshal(t, s.bin.must(t, code, planLimit, s.migrate("verify", "-o", "json")...), &v)
	return v
}

// verifyTells: all is well; with one member's etcd stopped it is not, and
// verify says where and what to do; then all is well again.
func verifyTells(t *testing.T, s *scenario) {
	if v := s.verify(t, 0); v.Degraded || len(v.Hosts) != len(s.pg.hosts)-1 {
		t.Errorf("verify of %q: degraded %t", v.Hosts, v.Degraded)
	}
	const broken = "e2"
	s.pg.hosts[broken].must(t, "systemctl stop etcd")
	v := s.verify(t, 6)
	named := false
	for _, r := range v.Results {
		named = named || !r.OK && strings.Contains(r.Host+" "+r.Seen, broken) && r.Remedy != ""
	}
	if !named || !v.Degraded {
		t.Errorf("verify with etcd stopped on %s: degraded %t, %+v", broken, v.Degraded, v.Results)
	}
	s.pg.hosts[broken].must(t, "systemctl start etcd")
	members := s.pg.members(t)
	eventually(t, settle, "all members to have one history again", func(ctx context.Context) error {
		return sameHistory(ctx, members, s.before.registry.cluster)
	})
	if v := s.verify(t, 0); v.Degraded {
		t.Errorf("verify with etcd back on %s: %+v", broken, v.Results)
	}
}

// loads matches what would make a browser fetch something.
var loads = regexp.MustCompile(`(?i)(src|href)\s*=\s*["']?(https?:)?//|url\(|@import`)

// reportIsTold: the page for a manager stands alone, and the record for a
// ticket has every phase.
func reportIsTold(t *testing.T, s *scenario) {
	page := s.bin.must(t, 0, planLimit, s.migrate("report", "-o", "html")...).stdout
	record := s.bin.must(t, 0, planLimit, s.migrate("report", "-o", "markdown")...).stdout
	if found := loads.FindString(page); found != "" || !strings.Contains(page, "<svg") {
		t.Errorf("the page loads something (%q), or has no chart", found)
	}
	for _, want := range append(slices.Concat(controlPlanes(), etcdHosts()), "lb1", s.name, s.pg.endpoint()) {
		if !strings.Contains(page, want) || !strings.Contains(record, want) {
			t.Errorf("%s is not in the page or not in the record", want)
		}
	}
}

// certsRenewed renews what nobody else renews, under a writer and without a
// failed write, and the cluster is what it was.
func certsRenewed(t *testing.T, s *scenario) {
	w := startWriter(t, s.pg, "certs", s.pg.endpoint())
	s.writers = append(s.writers, w)
	was := serverCerts(t, s.pg)
	r := s.bin.must(t, 0, phaseLimit, s.migrate("certs", "renew", "--yes", "--within", "400d")...)
	t.Logf("certs renew took %.0f s", r.seconds)
	for name, is := range serverCerts(t, s.pg) {
		if is == was[name] {
			t.Errorf("the member on %s serves the certificate of before", name)
		}
	}
	if v := s.verify(t, 0); v.Degraded {
		t.Errorf("verify after certs renew: %+v", v.Results)
	}
}

// serverCerts are the certificates that the members serve, by host.
func serverCerts(t *testing.T, p *playground) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range etcdHosts() {
		conn, err := p.hosts[name].dial(soon(t), net.JoinHostPort(p.address(name), "2379"))
		if err != nil {
			t.Fatal(err)
		}
		config := p.etcdTLS(t)
		config.ServerName = p.address(name)
		c := tls.Client(conn, config)
		if err := c.HandshakeContext(soon(t)); err != nil {
			t.Fatalf("the member on %s: %v", name, err)
		}
		out[name] = string(c.ConnectionState().PeerCertificates[0].Raw)
		c.Close()
	}
	return out
}

func unmarshal(t *testing.T, r result, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.stdout), into); err != nil {
		t.Fatalf("reading JSON: %v\n%s", err, tail(r.stdout, 5))
	}
}
