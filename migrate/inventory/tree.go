package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// vaultMark begins a file or a value that ansible-vault has locked.
const vaultMark = "$ANSIBLE_VAULT"

// tree reads the YAML form (ansible: plugins/inventory/yaml.py): groups with
// hosts, children and vars, below all or beside it; and what ansible-inventory
// --list prints, where hosts and children are lists, and variables stand in
// _meta. It is read as a tree, for the order of hosts is the order in which
// they will be named.
func (m *model) tree(data []byte) error {
	top, err := m.node(data)
	if err != nil {
		return err
	}
	if top.Kind != yaml.MappingNode {
		return fmt.Errorf("%s: an inventory is a mapping of groups", m.file)
	}
	return pairs(top, func(name string, value *yaml.Node) error {
		if name == "_meta" {
			return m.meta(value)
		}
		return m.treeGroup(name, value)
	})
}

// node parses JSON or YAML.
func (m *model) node(data []byte) (*yaml.Node, error) {
	// YAML reads most of JSON, but not its tabs and all of its escapes.
	if data = bytes.TrimSpace(data); json.Valid(data) {
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		n, err := jsonNode(d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.file, err)
		}
		return n, nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", m.file, err)
	}
	m.aliases(&doc)
	if len(doc.Content) != 1 {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}, nil
	}
	return doc.Content[0], nil
}

// jsonNode reads the next JSON value as YAML has it, keys in their order.
func jsonNode(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, container := token.(json.Delim)
	if !container {
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: fmt.Sprint(token)}
		if token == nil {
			n.Tag, n.Value = "!!null", ""
		}
		return n, nil
	}
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	if delim == '{' {
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
	}
	for d.More() {
		child, err := jsonNode(d)
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, child)
	}
	if _, err := d.Token(); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return n, nil
}

// pairs walks a mapping in its order; an empty one has none.
func pairs(n *yaml.Node, do func(key string, value *yaml.Node) error) error {
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		if err := do(n.Content[i].Value, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// each walks the names of a list, or the pairs of a mapping.
func each(n *yaml.Node, do func(key string, value *yaml.Node) error) error {
	if n.Kind != yaml.SequenceNode {
		return pairs(n, do)
	}
	for _, item := range n.Content {
		if item.Kind != yaml.ScalarNode {
			continue // it names nothing
		}
		if err := do(item.Value, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: item.Line}); err != nil {
			return err
		}
	}
	return nil
}

// isEmpty says whether nothing is to be read there; an alias was told of.
func isEmpty(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || n.Kind == yaml.ScalarNode && (n.Tag == "!!null" || n.Value == "")
}

// meta reads _meta: the variables of hosts, all groups' among them.
func (m *model) meta(n *yaml.Node) error {
	return pairs(n, func(key string, hosts *yaml.Node) error {
		if key != "hostvars" {
			return nil
		}
		return pairs(hosts, func(host string, v *yaml.Node) error {
			m.beside[host] = m.flatten(v)
			return nil
		})
	})
}

func (m *model) treeGroup(name string, n *yaml.Node) error {
	if err := checkName("group", name); err != nil {
		return m.bad(n, "%v", err)
	}
	g := m.group(name)
	if isEmpty(n) {
		return nil
	}
	if n.Kind == yaml.SequenceNode { // the short form of programs: {"web": ["a", "b"]}
		return m.treeHosts(g, n)
	}
	if n.Kind != yaml.MappingNode {
		return m.bad(n, "the group %s is a mapping with hosts, children or vars", name)
	}
	return pairs(n, func(key string, value *yaml.Node) error {
		if isEmpty(value) {
			return nil
		}
		if value.Kind == yaml.ScalarNode || value.Kind == yaml.SequenceNode && key == "vars" {
			return m.bad(value, "%s of the group %s is a mapping", key, name)
		}
		switch key {
		case "hosts":
			return m.treeHosts(g, value)
		case "children":
			return each(value, func(child string, v *yaml.Node) error {
				if err := m.addChild(g, child); err != nil {
					return m.bad(v, "%v", err)
				}
				return m.treeGroup(child, v)
			})
		case "vars":
			for k, v := range m.flatten(value) {
				g.vars[k] = v
			}
			return nil
		}
		m.note("%s of the group %s is not known here and not read", key, name)
		return nil
	})
}

func (m *model) treeHosts(g *group, n *yaml.Node) error {
	return each(n, func(pattern string, v *yaml.Node) error {
		all, err := expand(pattern)
		if err != nil {
			return m.bad(v, "%v", err)
		}
		own := m.flatten(v)
		for _, host := range all {
			if err := m.addHost(g, host, own); err != nil {
				return m.bad(v, "%v", err)
			}
		}
		return nil
	})
}

func (m *model) bad(n *yaml.Node, format string, args ...any) error {
	problem := brief(fmt.Sprintf(format, args...))
	if n.Line == 0 { // JSON, which is most often one line
		return fmt.Errorf("%s: %s", m.file, problem)
	}
	return fmt.Errorf("%s:%d: %s", m.file, n.Line, problem)
}

// flatten makes variables of a mapping: {a: {b: 1}} is a.b=1. Lists are left
// out; nothing that is taken over is one.
func (m *model) flatten(n *yaml.Node) vars {
	out := vars{}
	// The function given to pairs returns no error, so it has none.
	_ = pairs(n, func(key string, value *yaml.Node) error {
		switch value.Kind {
		case yaml.ScalarNode:
			switch value.Tag {
			case "!!null":
			case "!vault", "!vault-encrypted":
				out[key] = vaultMark
			default:
				out[key] = value.Value
			}
		case yaml.MappingNode:
			for k, v := range m.flatten(value) {
				switch {
				// As ansible-inventory prints values that are locked or
				// marked (ansible: parsing/ajson.py, AnsibleJSONEncoder).
				case k == "__ansible_vault", strings.HasPrefix(v, vaultMark):
					out[key] = vaultMark
				case k == "__ansible_unsafe":
					out[key] = v
				default:
					out[key+"."+k] = v
				}
			}
		}
		return nil
	})
	return out
}

// aliases tells of every alias, wherever it stands: a group or a host that is one
// would be missing without a word. None is followed, for a few of them can stand
// for more than any memory holds.
func (m *model) aliases(n *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		m.note("%s:%d: the alias *%s is not followed; write the value itself", m.file, n.Line, n.Value)
		return
	}
	for _, child := range n.Content {
		m.aliases(child)
	}
}
