package inventory

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// yaml reads the YAML form (ansible: plugins/inventory/yaml.py): groups with
// hosts, children and vars, below all or beside it. It is read as a tree, for
// the order of hosts is the order in which they will be named.
func (m *model) yaml(data []byte) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("%s: %w", m.file, err)
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return fmt.Errorf("%s: an inventory is a mapping of groups", m.file)
	}
	return pairs(doc.Content[0], func(name string, value *yaml.Node) error { return m.yamlGroup(name, value) })
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

func isEmpty(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.Tag == "!!null" || n.Value == "")
}

func (m *model) yamlGroup(name string, n *yaml.Node) error {
	g := m.group(name)
	if isEmpty(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return m.bad(n, "the group %s is a mapping with hosts, children or vars", name)
	}
	return pairs(n, func(key string, value *yaml.Node) error {
		if isEmpty(value) {
			return nil
		}
		if value.Kind != yaml.MappingNode {
			return m.bad(value, "%s of the group %s is a mapping", key, name)
		}
		switch key {
		case "hosts":
			return pairs(value, func(pattern string, v *yaml.Node) error {
				names, err := expand(pattern)
				if err != nil {
					return m.bad(v, "%v", err)
				}
				for _, host := range names {
					m.addHost(g, host, m.flatten(v))
				}
				return nil
			})
		case "children":
			return pairs(value, func(child string, v *yaml.Node) error {
				g.children = append(g.children, m.group(child).name)
				return m.yamlGroup(child, v)
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

func (m *model) bad(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", m.file, n.Line, fmt.Sprintf(format, args...))
}

// flatten makes variables of a mapping: {a: {b: 1}} is a.b=1. Lists are left
// out; nothing that is taken over is one.
func (m *model) flatten(n *yaml.Node) vars {
	out := vars{}
	if n.Kind == yaml.AliasNode {
		m.alias(n)
	}
	// The function given to pairs returns no error, so it has none.
	_ = pairs(n, func(key string, value *yaml.Node) error {
		switch value.Kind {
		case yaml.ScalarNode:
			switch value.Tag {
			case "!!null":
			case "!vault", "!vault-encrypted":
				out[key] = "$ANSIBLE_VAULT"
			default:
				out[key] = value.Value
			}
		case yaml.MappingNode:
			for k, v := range m.flatten(value) {
				out[key+"."+k] = v
			}
		case yaml.AliasNode:
			m.alias(value)
		}
		return nil
	})
	return out
}

func (m *model) alias(n *yaml.Node) {
	m.note("line %d: the alias *%s is not followed; write the value itself", n.Line, n.Value)
}
