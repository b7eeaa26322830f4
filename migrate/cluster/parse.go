package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"hamigrate/migrate/inputfile"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// What the file must say it is.
const (
	apiVersion = "migrate/v1alpha1"
	kind       = "Migration"
)

// Bounds far above any spec: a file beyond them is something else. The parser
// of YAML takes a minute and more for a quarter of a megabyte of lines, and
// space without end for what is nested without end.
const (
	maxSize  = 256 << 10
	maxWords = 12_000
	maxDepth = 64
)

// Parse reads and validates the spec file at path, or standard input where that
// is "-". Relative files in it are relative to its folder.
//
// Errors: fs.ErrNotExist (errors.Is) when there is none; otherwise all
// mistakes joined, each a *FieldError with file, line, field and remedy.
func Parse(path string) (Spec, error) {
	data, err := inputfile.Kind{What: "spec file", Max: maxSize}.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Spec{}, fmt.Errorf("there is no spec file %s: name it with --file (%w)", path, fs.ErrNotExist)
	}
	if err != nil {
		return Spec{}, err
	}
	if path == inputfile.Stdin {
		path = "standard input"
	}
	return ParseBytes(path, data)
}

// ParseBytes is Parse for a file that was read already; name is its path.
func ParseBytes(name string, data []byte) (Spec, error) {
	home, err := os.UserHomeDir()
	if err != nil { // a service may run without HOME
		home = "" // ~ is then refused where it is used
		if u, err := user.Current(); err == nil {
			home = u.HomeDir
		}
	}
	return parse(name, data, home)
}

func parse(name string, data []byte, home string) (Spec, error) {
	d := &decoder{file: name, dir: filepath.Dir(name), home: home}
	root, ok := d.document(data)
	if !ok {
		return Spec{}, d.err()
	}
	spec := d.migration(place{node: root})
	if err := d.err(); err != nil {
		return Spec{}, err
	}
	return spec, nil
}

// err returns all problems in the order of the file.
func (d *decoder) err() error {
	slices.SortStableFunc(d.problems, func(a, b *FieldError) int { return cmp.Compare(a.Line, b.Line) })
	errs := make([]error, len(d.problems))
	for i, p := range d.problems {
		errs[i] = p
	}
	return errors.Join(errs...)
}

// document returns the one document of the file.
func (d *decoder) document(data []byte) (ast.Node, bool) {
	whole := place{}
	if len(data) > maxSize {
		d.bad(whole, "has %d bytes, which is no spec file (they have at most %d)", len(data), maxSize)
		return nil, false
	}
	data, err := inputfile.Text(data)
	if err != nil {
		d.bad(whole, "%v", err)
		return nil, false
	}
	words := lexer.Tokenize(string(data))
	if len(words) > maxWords {
		d.bad(whole, "has %d words and marks, which is no spec file (they have at most %d); a spec without spec.workers means every other Node of the cluster", len(words), maxWords)
		return nil, false
	}
	if line := tooDeep(words); line > 0 {
		d.problems = append(d.problems, &FieldError{File: d.file, Line: line, Problem: fmt.Sprintf("is nested deeper than %d levels, which no spec file is", maxDepth)})
		return nil, false
	}
	file, err := parser.Parse(words, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.problems = append(d.problems, syntaxProblem(d.file, err))
		return nil, false
	}
	var docs []ast.Node
	for _, doc := range file.Docs {
		if !isNull(doc.Body) && doc.Body.Type() != ast.DirectiveType { // %YAML 1.2 changes nothing
			docs = append(docs, doc.Body)
		}
	}
	switch {
	case len(docs) == 0:
		d.bad(whole, "is empty; docs/spec.md shows what belongs into it")
	case len(docs) > 1:
		d.bad(place{node: docs[1]}, "a second document begins; a spec file has one")
	default:
		return docs[0], true
	}
	return nil, false
}

// tooDeep is the line in which brackets, or list items within list items, are
// nested deeper than maxDepth; 0 for none. What is nested by its indentation is
// bounded by the size of the file.
func tooDeep(words token.Tokens) int {
	brackets, items := 0, 0
	for _, w := range words {
		switch w.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		}
		switch w.Type {
		case token.SequenceEntryType, token.MappingKeyType, token.TagType:
			items++
		default:
			items = 0
		}
		if brackets > maxDepth || items > maxDepth {
			return w.Position.Line
		}
	}
	return 0
}

func syntaxProblem(file string, err error) *FieldError {
	p := &FieldError{File: file, Line: 1, Problem: "is not YAML"} // the error itself may have lines of the file in it
	if syntax, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		p.Problem = "is not YAML: " + syntax.Message // of the parser's own words, but for a tag's name
		if strings.Contains(syntax.Message, "found character '\t'") || strings.Contains(syntax.Message, "tab character") {
			p.Problem = "begins with a tab, where YAML wants spaces: indent with spaces"
		}
		if syntax.Token != nil && syntax.Token.Position != nil {
			p.Line = syntax.Token.Position.Line
		}
	}
	return p
}

func (d *decoder) migration(p place) Spec {
	var spec Spec
	var body place
	foreign := false
	d.mapping(p,
		field{"apiVersion", "write " + apiVersion, func(p place) { foreign = !d.constant(p, apiVersion) || foreign }},
		field{"kind", "write " + kind, func(p place) { foreign = !d.constant(p, kind) || foreign }},
		field{"metadata", "write metadata: {name: …}, a name for this migration", func(p place) {
			d.mapping(p, field{"name", "write a name for this migration", func(p place) { spec.Name = d.name(p) }})
		}},
		field{"spec", "write what the cluster shall look like; docs/spec.md shows it", func(p place) { body = p }},
	)
	// What is wrong with the fields of something else helps nobody.
	if body.node != nil && !foreign {
		d.spec(body, &spec)
	}
	return spec
}

// constant reads a field that has one value, and says whether it has it.
func (d *decoder) constant(p place, want string) bool {
	s, ok := d.text(p)
	if ok && s != want {
		d.bad(p, "%s is not read by this version; it reads %s", inputfile.Quote(s), want)
	}
	return s == want
}

// spec reads the spec block. The SSH defaults come first: every host starts
// from them.
func (d *decoder) spec(p place, spec *Spec) {
	in := inventory{decoder: d, defaults: d.sshDefaults()}
	var endpoint place
	binary := BinaryFromControlPlane // as it is written, for the fingerprint
	spec.LoadBalancer.Kind, spec.Etcd.Topology, spec.Etcd.Binary = LoadBalancerNginx, TopologyExternal, BinaryFromControlPlane
	d.mapping(p,
		field{"endpoint", "write the new control-plane endpoint, host:6443", func(p place) {
			endpoint, spec.Endpoint = p, d.endpoint(p)
		}},
		field{"ssh", "", func(p place) { d.ssh(p, &in.defaults) }},
		field{"loadBalancer", "write which hosts shall be load balancers", func(p place) {
			in.balancer(p, &spec.LoadBalancer)
		}},
		field{"etcd", "write which hosts shall be etcd members", func(p place) { binary = in.etcd(p, &spec.Etcd) }},
		field{"controlPlane", "write which control-plane node is there and which shall join", func(p place) {
			in.controlPlane(p, &spec.ControlPlane)
		}},
		field{"workers", "", func(p place) {
			spec.Workers = in.hosts(p, groupWorker)
			in.atLeast(p, spec.Workers, 1, "remove it to mean every other Node of the cluster, or list the workers")
		}},
	)
	spec.SSH = in.defaults
	in.duplicates()
	in.endpointIsNoNode(endpoint, spec.Endpoint)
	in.endpointIsNoLogin(endpoint, spec.Endpoint)
	spec.Fingerprint = fingerprint(*spec, binary)
}

// balancer reads the loadBalancer block. One that somebody else configures
// has no hosts here.
func (in *inventory) balancer(p place, lb *LoadBalancer) {
	listed := false
	in.mapping(p,
		field{"kind", "", func(p place) { lb.Kind = in.balancerKind(p) }},
		field{"hosts", "", func(p place) {
			listed = true
			if lb.Kind == LoadBalancerExternal {
				in.bad(p, "an %s load balancer is not reconfigured: remove its hosts, only spec.endpoint is needed", LoadBalancerExternal)
				return
			}
			lb.Hosts = in.hosts(p, groupBalancer)
			in.atLeast(p, lb.Hosts, 1, "list at least one host")
		}})
	if !listed && lb.Kind != LoadBalancerExternal && in.mayLack(p, "hosts") {
		in.bad(place{p.node, p.path + ".hosts"}, "is missing; list at least one host")
	}
}

// mayLack says whether a mapping really lacks a field: one that is there
// without a value, and what is no mapping at all, was complained about.
func (d *decoder) mayLack(p place, name string) bool {
	switch n := p.node.(type) {
	case *ast.MappingNode:
		return !slices.ContainsFunc(n.Values, func(v *ast.MappingValueNode) bool { return v.Key.GetToken().Value == name })
	case *ast.MappingValueNode:
		return n.Key.GetToken().Value != name
	}
	return false
}

func (d *decoder) balancerKind(p place) string {
	s, ok := d.oneOf(p, LoadBalancerNginx, LoadBalancerHAProxy, LoadBalancerKubeVIP, LoadBalancerExternal)
	if ok && s == LoadBalancerKubeVIP {
		d.bad(p, "%s is not built yet; %s, %s and %s are", s, LoadBalancerNginx, LoadBalancerHAProxy, LoadBalancerExternal)
	}
	return s
}

func (in *inventory) etcd(p place, etcd *Etcd) (binary string) {
	binary = etcd.Binary
	in.mapping(p,
		field{"topology", "", func(p place) {
			s, ok := in.oneOf(p, TopologyExternal, TopologyStacked)
			if ok && s != TopologyExternal {
				in.bad(p, "%s is not built yet; %s is", s, TopologyExternal)
			}
			etcd.Topology = s
		}},
		field{"hosts", "list the 3 hosts that shall be etcd members", func(p place) {
			etcd.Hosts = in.hosts(p, groupEtcd)
			if n := in.count(p); n >= 0 && n != 3 && n != 5 {
				in.bad(p, "has %d; etcd needs an odd number of members that survives the loss of one: list 3 (recommended) or 5", n)
			}
		}},
		field{"binary", "", func(p place) { binary, etcd.Binary = in.binary(p) }},
	)
	return binary
}

// binary returns the value as it is written and, for a file, where it is.
func (d *decoder) binary(p place) (written, resolved string) {
	s, ok := d.text(p)
	switch {
	case !ok || s == BinaryFromControlPlane || s == BinaryPreinstalled:
		return s, s
	case !strings.Contains(s, "/"):
		d.bad(p, "%s is neither %s nor %s; for a file on this machine write a path with a /, such as ./%s",
			inputfile.Quote(s), BinaryFromControlPlane, BinaryPreinstalled, inputfile.Word(s))
		return s, s
	}
	return s, d.localFile(p, s)
}

func (in *inventory) controlPlane(p place, cp *ControlPlane) {
	in.mapping(p,
		field{"first", "write the control-plane node that is there: {name: …, address: …}", func(p place) {
			cp.First = in.host(p, groupFirst)
		}},
		field{"joining", "list the 2 hosts that shall join", func(p place) {
			cp.Joining = in.hosts(p, groupJoining)
			in.atLeast(p, cp.Joining, 2, "list at least 2: with the first one they are 3, and 3 survive the loss of one")
		}},
		field{"join", "", func(p place) { in.join(p, &cp.Join) }},
	)
}

func (d *decoder) join(p place, join *Join) {
	d.mapping(p,
		field{"patches", "", func(p place) {
			s, ok := d.text(p)
			if ok && !strings.HasPrefix(s, "/") {
				d.bad(p, "%s is not an absolute path; it names a folder on the joining nodes", inputfile.Quote(s))
			}
			join.Patches = s
		}},
		field{"ignorePreflightErrors", "", func(p place) {
			d.list(p, func(p place) {
				s, ok := d.text(p)
				if ok && strings.ContainsAny(s, ", \t") {
					d.bad(p, "%s is not one name; write one name an item, as kubeadm prints it in [ERROR …]", inputfile.Quote(s))
				}
				join.IgnorePreflightErrors = append(join.IgnorePreflightErrors, s)
			})
		}},
	)
}
