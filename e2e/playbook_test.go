package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// section is a step of a playbook: where, and the blocks of its text.
type section struct {
	title  string
	hosts  []string
	blocks []block
}

// block is what stands between two fences; file is what the sentence before
// it says to write it to, "" for commands.
type block struct{ file, text string }

var (
	headline  = regexp.MustCompile(`(?m)^## \d+\. (.*)$`)
	inBold    = regexp.MustCompile(`([a-z]+\d+) \([0-9.]+\)`)
	forOnce   = regexp.MustCompile(`Once, for the cluster, from ([a-z]+\d+)`)
	fenced    = regexp.MustCompile("(?ms)^(?:Write (\\S+):\n\n)?```\n(.*?)^```$")
	remarked  = regexp.MustCompile(`^(.*?\S)\s{2,}# (.*)$`)
	editsMap  = regexp.MustCompile(`^kubectl -n \S+ edit cm (\S+)`)
	callsNode = regexp.MustCompile(`^kubectl get node (\S+)`)
)

// readPlaybook takes a page apart as a person reads it.
func readPlaybook(t *testing.T, page string) []section {
	t.Helper()
	at := headline.FindAllStringSubmatchIndex(page, -1)
	var out []section
	for i, m := range at {
		end := len(page)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		text := page[m[1]:end]
		s := section{title: page[m[2]:m[3]]}
		where, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
		for _, h := range append(inBold.FindAllStringSubmatch(where, -1), forOnce.FindAllStringSubmatch(where, -1)...) {
			s.hosts = append(s.hosts, h[1])
		}
		for _, b := range fenced.FindAllStringSubmatch(text, -1) {
			s.blocks = append(s.blocks, block{b[1], b[2]})
		}
		if len(s.hosts) == 0 || len(s.blocks) == 0 {
			t.Fatalf("the playbook's step %q says not where, or not what: %s", s.title, text)
		}
		out = append(out, s)
	}
	return out
}

// person does what a playbook says. What its words leave to a person, the
// edits, is done as they say.
type person struct {
	s        *scenario
	endpoint string // host:port
}

// byHand does phase 1 with the commands of its playbook, as they are printed.
// Then the program finds nothing to do in that phase.
func byHand(t *testing.T, s *scenario) {
	page := s.bin.must(t, 0, planLimit, "playbook", "--file", s.specFile(), "--phase", "1").stdout
	p := person{s, s.pg.endpoint()}
	sections := readPlaybook(t, page)
	for _, step := range sections {
		began := time.Now()
		for i, b := range step.blocks {
			on := step.hosts[0]
			if len(step.blocks) == len(step.hosts) { // a block for each host, in their order
				on = step.hosts[i]
			}
			p.do(t, step, b, on)
		}
		t.Logf("%.1f s: %s", time.Since(began).Seconds(), step.title)
	}
	r := s.bin.must(t, 0, planLimit, s.migrate("plan", "--phase", "1", "--detailed-exitcode")...)
	t.Logf("%d steps by hand, and the plan of phase 1 says:\n%s", len(sections), tail(r.stdout, 3))
}

func (p person) do(t *testing.T, step section, b block, on string) {
	t.Helper()
	if b.file != "" {
		b = p.s.asHere(t, b)
		p.run(t, on, fmt.Sprintf("cat > %s <<'END_OF_FILE'\n%sEND_OF_FILE\n", b.file, b.text))
		return
	}
	for line := range strings.Lines(b.text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "# in it: certificatesDir"):
			p.run(t, on, "sed -i -e 's#^certificatesDir:.*#certificatesDir: '$HOME'/new-pki#' -e '"+p.addSAN("")+"' $HOME/kubeadm.yaml")
		case strings.HasPrefix(line, "#") || line == "":
		case strings.HasPrefix(line, "ss -Htn"): // counted, and set to four times that
			p.run(t, on, line)
			p.run(t, "lb1", `sed -i 's/worker_connections  *[0-9]*/worker_connections 4096/' /etc/nginx/nginx.conf`)
		default:
			p.command(t, on, line)
		}
	}
}

var streamBlock = regexp.MustCompile(`(?ms)^stream \{\n(.*)^\}$`)

// asHere is a file of the playbook's as somebody writes it who knows this load
// balancer: a stream block is there, and a folder that it includes, which is
// where the program had put its own file.
func (s *scenario) asHere(t *testing.T, b block) block {
	t.Helper()
	if !strings.HasPrefix(b.file, "/etc/nginx/") || filepath.Dir(b.file) == filepath.Dir(s.streamFile) {
		return b
	}
	inside := streamBlock.FindStringSubmatch(b.text)
	if s.streamFile == "" || inside == nil {
		t.Fatalf("where the program had its stream is not known (%q), or the playbook has none:\n%s", s.streamFile, b.text)
	}
	return block{s.streamFile, inside[1]}
}

// noteStream keeps where on the load balancer the API is passed through.
func (s *scenario) noteStream(t *testing.T) {
	t.Helper()
	s.streamFile = strings.TrimSpace(s.pg.hosts["lb1"].must(t, "grep -rlE '^ *server (cp1 )?"+s.pg.api("cp1")+"' /etc/nginx /etc/haproxy"))
	if strings.Contains(s.streamFile, "\n") {
		t.Errorf("cp1 is a backend in more than one file: %q", s.streamFile)
	}
}

// command runs one line. What has a remark says what is to be seen: it is
// looked for until it is there, on every node where the remark says so.
func (p person) command(t *testing.T, on, line string) {
	t.Helper()
	m := remarked.FindStringSubmatch(line)
	if edit := editsMap.FindStringSubmatch(line); edit != nil {
		p.run(t, on, "export EDITOR='sed -i "+p.edit(edit[1])+"'\n"+strings.Split(line, "    #")[0])
		return
	}
	if m == nil || strings.HasPrefix(m[2], "or: ") {
		if m != nil {
			line = m[1]
		}
		p.run(t, on, line)
		return
	}
	hosts := []string{on}
	if m[2] == "from every node" {
		hosts = append([]string{"cp1"}, workers()...)
	}
	for _, host := range hosts {
		eventually(t, time.Minute, "what the playbook says of `"+line+"` on "+host, func(ctx context.Context) error {
			_, err := p.s.pg.hosts[host].run(ctx, kubeconfig(host)+m[1])
			return err
		})
	}
	if node := callsNode.FindStringSubmatch(m[1]); node != nil {
		eventually(t, time.Minute, node[1]+" to be Ready", func(ctx context.Context) error {
			return nodeReady(ctx, p.s.pg.kube(t, p.endpoint), node[1])
		})
	}
}

// edit is the sed expression that does in a ConfigMap what the playbook says
// beside it. It is quoted for a shell inside of single quotes.
func (p person) edit(configMap string) string {
	expression := "s#server: .*#server: https://" + p.endpoint + "#"
	if configMap == "kubeadm-config" {
		expression = p.addSAN("    ") + `;s#^    certificatesDir:.*#&\n    controlPlaneEndpoint: ` + p.endpoint + "#"
	}
	return `"` + strings.ReplaceAll(expression, `\`, `\\`) + `"`
}

// addSAN adds the endpoint's host and the load balancer's address to
// apiServer.certSANs, which this cluster has none of.
func (p person) addSAN(indent string) string {
	host, _, _ := strings.Cut(p.endpoint, ":")
	sans := []string{host}
	if address := p.s.pg.address("lb1"); address != host {
		sans = append(sans, address)
	}
	added := indent + `apiServer:\n` + indent + `  certSANs:`
	for _, san := range sans {
		added += `\n` + indent + `  - ` + san
	}
	return "s#^" + indent + `apiServer:.*#` + added + "#"
}

func (p person) run(t *testing.T, on, script string) {
	t.Helper()
	p.s.pg.hosts[on].mustWithin(t, 3*time.Minute, kubeconfig(on)+"set -e\n"+script)
}

// kubeconfig is what a person exports before using kubectl on a host.
func kubeconfig(host string) string {
	file := "kubelet.conf"
	if strings.HasPrefix(host, "cp") {
		file = "admin.conf"
	}
	return "export KUBECONFIG=" + filepath.Join("/etc/kubernetes", file) + "\n"
}
