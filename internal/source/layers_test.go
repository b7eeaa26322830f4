package source_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "hamigrate"

// layer is one package: which of ours it may import, and why no other.
type layer struct {
	may []string
	why string
}

// layers is the architecture. A package that is not in it has no place yet.
//
// Long: a row for each package.
func layers() map[string]layer {
	// What steps are made of: the engine and the adapters, and what is read of a host.
	step := []string{"migrate", "migrate/cluster", "migrate/etcd", "migrate/kube", "migrate/remote", "migrate/remote/rights",
		"internal/parallel", "migrate/etcdflags", "migrate/hostfiles", "migrate/kubeadm", "migrate/podtrouble", "migrate/process", "phases"}
	return map[string]layer{
		"state":                     {nil, "the journal is bytes on a disk: what a step is must not matter to it"},
		"migrate/inputfile":         {nil, "reads a file up to a bound; what is in it is not its business"},
		"migrate/cluster":           {[]string{"migrate/inputfile", "migrate/remote"}, "the spec is data; of hosts it asks what a name and a user are, and gets no connection with that"},
		"migrate":                   {[]string{"internal/parallel", "state", "migrate/cluster"}, "the engine knows no SSH, etcd, Kubernetes or command line, so that its crash tests are about it alone"},
		"migrate/show":              {nil, "how text is quoted must not depend on what it is about"},
		"migrate/show/tabular":      {nil, "how a table is printed must not depend on what is in it"},
		"migrate/remote":            {nil, "what a host is, said without any way to reach one"},
		"migrate/remote/rights":     {nil, "what a look needs of root is said once, for the sudoers file and for the shell"},
		"migrate/remote/sshhost":    {[]string{"migrate/cluster", "migrate/inputfile", "migrate/remote", "migrate/remote/rights"}, "an adapter never imports the engine"},
		"migrate/remote/remotetest": {[]string{"migrate/cluster", "migrate/remote"}, "a fake of hosts serves every test, so it depends on none"},
		"migrate/etcd":              {[]string{"migrate/cluster", "migrate/remote"}, "an adapter never imports the engine"},
		"migrate/kube":              {[]string{"migrate/cluster", "migrate/remote"}, "an adapter never imports the engine"},
		"migrate/process":           {[]string{"migrate/kube", "migrate/remote"}, "what runs on a host, whoever asks"},
		"migrate/hostfiles":         {[]string{"internal/parallel", "migrate", "migrate/kube", "migrate/remote"}, "files of a host, whatever is in them"},
		"migrate/etcdflags":         {[]string{"migrate/cluster", "migrate/kube", "migrate/remote"}, "what a flag of etcd means; who has set it is not its business"},
		"migrate/kubeadm":           {[]string{"migrate/kube", "migrate/process", "migrate/remote"}, "what kubeadm does and keeps on a host, whichever step asks"},
		"migrate/podtrouble":        {[]string{"migrate"}, "reads a pod; what is waited for is not its business"},
		"migrate/inventory":         {[]string{"migrate/inputfile", "migrate/remote"}, "reads a file of somebody else's; what becomes of it is not its business"},
		"migrate/initspec":          {[]string{"migrate/cluster", "migrate/etcd", "migrate/kube", "migrate/remote"}, "looks at a cluster through interfaces and writes a spec; how hosts are reached is not its business"},
		"migrate/nodefiles":         {[]string{"migrate/kube", "migrate/remote"}, "decides by what stands on a node; preflight asks it as well, and must not get etcd's server with it"},
		"migrate/backup":            {[]string{"migrate/etcd", "migrate/inputfile", "migrate/nodefiles", "migrate/remote"}, "saves and checks what a cluster is restored from; which step it is for is not its business"},
		"migrate/redact":            {nil, "hides secrets in text, whoever's it is"},
		"migrate/runlog":            {nil, "lines in a file; nothing that goes by them may be built on it"},
		"migrate/probe":             {nil, "what measures the migration must not share its code"},
		"migrate/nodeprobe":         {[]string{"migrate/probe", "migrate/remote"}, "the probe on nodes; it measures the migration and must not share its code either"},
		"migrate/runrecord":         {[]string{"state", "migrate", "migrate/probe", "migrate/remote/sshhost"}, "what runs leave in the journal is read by reports and written by runs, and belongs to neither"},
		"migrate/report":            {[]string{"state", "migrate/probe", "migrate/remote/sshhost", "migrate/report/page", "migrate/runrecord", "migrate/show/tabular", "phases"}, "tells what was done, from the journal; it must not be able to ask a cluster"},
		"migrate/report/page":       {[]string{"state", "migrate/probe"}, "tells what the journal holds; it must not be able to ask a cluster"},
		"migrate/commandlog":        {[]string{"state", "migrate/redact", "migrate/remote", "migrate/remote/sshhost", "migrate/runlog"}, "writes down what commands do; nothing that goes by it may be built on it"},
		"migrate/support":           {[]string{"state", "migrate/cluster", "migrate/commandlog", "migrate/redact", "migrate/report", "migrate/runlog"}, "gathers for others what there is; it is given what was seen and asks no cluster"},
		"migrate/initlook":          {[]string{"internal/parallel", "migrate", "migrate/cluster", "migrate/etcd", "migrate/initspec", "migrate/inventory", "migrate/remote", "migrate/remote/sshhost", "phases"}, "looks with the eyes of the phases at a cluster without a spec; which flags asked for it is not its business"},
		"migrate/rehearsal":         {[]string{"migrate", "migrate/cluster", "migrate/inputfile", "migrate/kube", "migrate/playground", "migrate/playground/build", "migrate/probe", "migrate/report", "migrate/show/tabular", "phases", "phases/balancers"}, "decides what a playground is to be like, and what is kept of it; it builds and migrates nothing"},
		"migrate/playground":        {[]string{"migrate/remote", "migrate/playground/build"}, "a playground is a cluster like any other: the migration must not know of it, nor it of the migration"},
		"migrate/playground/build":  {nil, "builds programs and images; what they are for is not its business"},
		"phases":                    {step[:len(step)-1], "what the phases share: handles and invariants, no step"},
		"migrate/lease":             {[]string{"state", "migrate", "migrate/kube"}, "who migrates a cluster is said by an object in it; what is done meanwhile is not its business"},
		"migrate/run":               {[]string{"internal/parallel", "state", "migrate", "migrate/backup", "migrate/cluster", "migrate/inputfile", "migrate/kube", "migrate/lease", "migrate/probe", "migrate/remote", "migrate/remote/sshhost", "migrate/runrecord", "phases", "phases/certs", "phases/migration", "phases/preflight", "phases/restore", "phases/verify", "phases/balancers"}, "carries out what is asked for; it knows no command line, no terminal and no way to measure"},
		"migrate/outputfile":        {[]string{"migrate/backup", "migrate/inputfile", "migrate/rehearsal"}, "replaces a file that an operator names, and knows which not to; what is written is not its business"},
		"migrate/sudoers":           {[]string{"migrate", "migrate/cluster", "migrate/remote/rights"}, "makes files of what a spec says of its hosts; it reaches none"},
		"migrate/rehearse":          {[]string{"migrate", "migrate/measure", "migrate/playground", "migrate/remote", "migrate/report", "migrate/run", "phases", "phases/migration"}, "builds, migrates and takes down; which cluster it is like, and what is kept of it, is not its business"},
		"migrate/measure":           {[]string{"state", "migrate", "migrate/kube", "migrate/nodeprobe", "migrate/probe", "migrate/run", "migrate/runrecord", "phases", "phases/balancers"}, "measures for a run and asks it to stop; flags, and how figures are shown, are not its business"},
		"playbooks/forspec":         {[]string{"migrate", "migrate/cluster", "migrate/etcdflags", "migrate/remote", "phases", "phases/balancers", "playbooks"}, "fills playbooks with what a spec says; it asks no cluster"},
		"cmd/migrate/cliflags":      {nil, "what commands do is not its business"},
		"migrate/console":           {[]string{"migrate/playground", "phases/audit", "state", "migrate", "migrate/backup", "migrate/etcdflags", "migrate/hostfiles", "migrate/remote", "migrate/run", "migrate/show/tabular", "phases", "phases/certs", "phases/preflight", "phases/verify"}, "words what people read; it looks at nothing itself"},
		"phases/survey":             {[]string{"internal/parallel", "migrate", "phases"}, "goes through hosts; what is looked for is not its business"},
		"phases/consumers":          {step, "finds who uses etcd and the API, for checks of any kind"},
		"phases/etcdconfig":         {step, "reads the settings of the old etcd member, for steps and checks"},
		"phases/migration":          {[]string{"migrate/cluster", "phases", "phases/balancers", "phases/controlplane", "phases/etcd", "phases/loadbalancer"}, "the list of the phases, and nothing else of them"},
		"phases/redirect":           {[]string{"migrate/remote"}, "rules of a host's firewall, wherever they lead"},
		"phases/apiserver":          {step, "one API server of a node, whatever it is stopped or asked for"},
		"phases/overlap":            {append(slices.Clone(step), "phases/apiserver", "phases/redirect"), "steps that several phases use"},
		"phases/loadbalancer":       {append(slices.Clone(step), "phases/balancer", "phases/balancers"), "a phase knows the adapters and no other phase"},
		"phases/etcd":               {append(slices.Clone(step), "phases/etcd/external", "phases/etcd/membership"), "chooses the topology; all that depends on it is asked here"},
		"phases/etcd/external":      {append(slices.Clone(step), "phases/consumers", "phases/etcdconfig", "migrate/inputfile", "phases/apiserver", "phases/etcd/membership", "phases/overlap"), "a phase knows the adapters and no other phase"},
		"phases/etcd/membership":    {append(slices.Clone(step), "phases/apiserver"), "changes the list of members, wherever they run"},
		"phases/controlplane":       {append(slices.Clone(step), "phases/apiserver", "phases/balancer", "phases/balancers", "phases/etcd", "phases/redirect"), "a phase knows the adapters; this one gives the load balancer new backends"},
		"phases/preflight":          {append(slices.Clone(step), "phases/survey", "phases/consumers", "phases/etcdconfig", "migrate/nodefiles", "phases/balancer", "phases/balancers", "phases/controlplane", "phases/loadbalancer", "phases/overlap"), "it looks for what would stop a phase, with the phases' own eyes where they have them"},
		"phases/restore":            {append(slices.Clone(step), "phases/apiserver", "phases/etcd", "phases/etcd/membership", "phases/overlap"), "the emergency door makes the members again that phase 2 made"},
		"phases/verify":             {append(slices.Clone(step), "phases/survey", "phases/apiserver", "phases/balancer", "phases/balancers", "phases/certs", "phases/controlplane", "phases/etcd", "phases/etcd/membership", "phases/loadbalancer", "phases/overlap"), "it looks at the end state, with the phases' own eyes where they have them"},
		"phases/audit":              {append(slices.Clone(step), "phases/consumers", "phases/balancer", "phases/balancers"), "it must be of use where nothing of this program has run, so it knows no phase"},
		"phases/certs":              {append(slices.Clone(step), "phases/survey", "phases/etcd"), "renews what phase 2 signed, by the same mechanism"},
		"phases/simulator":          {append(slices.Clone(step), "migrate/remote/remotetest"), "the world of the phases' tests must not know a phase, or it would be made to fit"},
		"phases/conformance":        {append(slices.Clone(step), "migrate/remote/remotetest", "phases/balancer/haproxy", "phases/balancers", "phases/controlplane", "phases/etcd", "phases/loadbalancer", "phases/simulator", "state"), "tests of any phase are made of it"},
		"internal/parallel":         {nil, "calls functions, whatever they do"},
		"internal/source":           {nil, "gives tests the program's own text, whatever they look for in it"},
		"internal/within":           {nil, "holds tests to bounds, those of every package"},
		"playbooks":                 {[]string{"migrate"}, "made from the declaration, whatever it declares"},
		"cmd/migrate":               {[]string{"*"}, "puts everything together"},
		"e2e":                       {nil, "looks at real clusters and the real binary through clients of its own: what shares the product's code shares its mistakes"},
		"docs":                      {nil, "tests of the pages"},
		"phases/platform":           {[]string{"migrate/hostfiles", "migrate/remote", "phases"}, "what distributions differ in, whatever is installed there"},
		"phases/balancer":           {append(slices.Clone(step), "phases/platform"), "what a load balancer is to the rest, whatever its kind"},
		"phases/balancer/nginx":     {append(slices.Clone(step), "phases/balancer", "phases/platform"), "a kind of load balancer knows no other kind and no phase"},
		"phases/balancer/haproxy":   {append(slices.Clone(step), "phases/balancer", "phases/platform"), "a kind of load balancer knows no other kind and no phase"},
		"phases/balancer/external":  {append(slices.Clone(step), "phases/balancer"), "a kind of load balancer knows no other kind and no phase"},
		"phases/balancers":          {[]string{"migrate", "migrate/cluster", "phases/balancer", "phases/balancer/external", "phases/balancer/haproxy", "phases/balancer/nginx"}, "the one place that chooses a kind"},
	}
}

// alone lists libraries that only some packages may import.
func alone() map[string]layer {
	return map[string]layer{
		"golang.org/x/crypto/ssh":             {[]string{"migrate/remote/sshhost"}, "host keys are checked in one place"},
		"go.etcd.io/etcd/client/v3":           {[]string{"migrate/etcd"}, "each member is reached from its own host, one connection each"},
		"go.etcd.io/etcd/etcdutl/v3/snapshot": {[]string{"migrate/backup"}, "how a member is restored is known in one place"},
		"go.etcd.io/bbolt":                    {[]string{"state"}, "the journal's format has one owner"},
		"github.com/urfave/cli/v2":            {[]string{"cmd/migrate", "cmd/migrate/cliflags"}, "flags end at the command line"},
		"k8s.io/client-go/kubernetes":         {[]string{"migrate/kube", "migrate/nodeprobe", "migrate/probe", "phases", "phases/simulator"}, "objects are read and changed in one package, with errors that say which"},
		"mvdan.cc/sh/v3/interp":               {[]string{"phases/simulator"}, "scripts run on hosts; in Go only for tests"},
		"testing":                             {[]string{"internal/source", "internal/within", "migrate/remote/remotetest", "phases/conformance", "phases/simulator"}, "tests' helpers are not part of the program"},
		module + "/migrate/remote/remotetest": {[]string{"phases/conformance", "phases/simulator"}, "fakes are imported by tests and fakes"},
		module + "/phases/simulator":          {[]string{"phases/conformance"}, "fakes are imported by tests"},
		module + "/phases/conformance":        {nil, "tests' helpers are not part of the program"},
		module + "/internal/within":           {nil, "bounds are of tests"},
	}
}

// imports reads the import lines of every package, tests left out. They are
// read from the files, which `go test` then knows to be this test's input; of
// what `go list` reads it would not.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if filepath.Ext(file) != ".go" {
			return nil
		}
		name, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		out[name] = append(out[name], nil...)
		if strings.HasSuffix(file, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range parsed.Imports {
			out[name] = append(out[name], strings.Trim(i.Path.Value, `"`))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLayers holds the table above; tests may import what they like.
func TestLayers(t *testing.T) {
	t.Parallel()
	table, libraries := layers(), alone()
	all := imports(t)
	for name, list := range all {
		l, known := table[name]
		if !known {
			t.Errorf("%s has no place in the layers: give it one, with the reason", name)
			continue
		}
		for _, i := range list {
			ours, isOurs := strings.CutPrefix(i, module+"/")
			if ours == "migrate/show" && name != "e2e" { // errors of more than one line are made anywhere
				continue
			}
			if isOurs && !slices.Contains(l.may, ours) && !slices.Contains(l.may, "*") {
				t.Errorf("%s may not import %s: %s", name, ours, l.why)
			}
			if rule, ok := libraries[i]; ok && !slices.Contains(rule.may, name) {
				t.Errorf("%s may not import %s: %s", name, i, rule.why)
			}
		}
	}
	for name := range table {
		if _, there := all[name]; !there {
			t.Errorf("%s has a place in the layers and does not exist", name)
		}
	}
}
