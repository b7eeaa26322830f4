package kube

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// replaceScalar returns data with the text of one scalar node replaced, and
// every other byte kept: comments, order, indentation and the operator's own
// style survive. The node must come from parsing exactly these bytes.
//
// Only scalars written on one line are handled, which is what kubeadm writes;
// anything else is an error, never a guess.
func replaceScalar(data []byte, node *yaml.Node, value string) ([]byte, error) {
	lines := strings.SplitAfter(string(data), "\n")
	if node.Kind != yaml.ScalarNode || node.Line < 1 || node.Line > len(lines) {
		return nil, fmt.Errorf("line %d is not a plain value", node.Line)
	}
	line := lines[node.Line-1]
	at := node.Column - 1
	old, err := scalarText(line, at, node)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", node.Line, err)
	}
	lines[node.Line-1] = line[:at] + encodeScalar(value, node.Style) + line[at+len(old):]
	return []byte(strings.Join(lines, "")), nil
}

// scalarText returns how the scalar stands in its line, quotes included.
func scalarText(line string, at int, node *yaml.Node) (string, error) {
	if at < 0 || at > len(line) {
		return "", fmt.Errorf("column %d is outside the line", at+1)
	}
	text := encodeScalar(node.Value, node.Style)
	if !strings.HasPrefix(line[at:], text) {
		return "", fmt.Errorf("the value %q is written in a way this tool does not edit (several lines, escapes or an anchor)", node.Value)
	}
	return text, nil
}

func encodeScalar(value string, style yaml.Style) string {
	switch {
	case style&yaml.DoubleQuotedStyle != 0:
		return `"` + value + `"`
	case style&yaml.SingleQuotedStyle != 0:
		return `'` + strings.ReplaceAll(value, `'`, `''`) + `'`
	default:
		return value
	}
}

// parseDocument parses one YAML document and returns its top mapping.
func parseDocument(data []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("parsing YAML: %w", err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("parsing YAML: the document is not a mapping")
	}
	return doc.Content[0], nil
}

// maxNodes bounds a tree in which what is named once and used often stands
// wherever it is used.
const maxNodes = 100_000

// plain is a tree without anchors and aliases: where one half of a pair is
// changed, removed or hidden, the other must not be left behind.
func plain(n *yaml.Node, count *int) (*yaml.Node, error) {
	if *count++; *count > maxNodes {
		return nil, fmt.Errorf("parsing YAML: with its aliases written out it has more than %d values", maxNodes)
	}
	if n.Kind == yaml.AliasNode {
		return plain(n.Alias, count)
	}
	out := *n
	out.Anchor, out.Content = "", nil
	for _, inner := range n.Content {
		one, err := plain(inner, count)
		if err != nil {
			return nil, err
		}
		out.Content = append(out.Content, one)
	}
	return &out, nil
}

// child returns the value under key of a mapping, or nil.
func child(m *yaml.Node, key string) *yaml.Node {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}

// setChild sets key of a mapping to value, at the end when it is new.
func setChild(m *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content[i+1] = value
			return
		}
	}
	m.Content = append(m.Content, scalar(key), value)
}

func removeChild(m *yaml.Node, key string) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content = append(m.Content[:i], m.Content[i+2:]...)
			return
		}
	}
}

func scalar(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

func stringList(items []string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, s := range items {
		n.Content = append(n.Content, scalar(s))
	}
	return n
}

func listOf(n *yaml.Node) []string {
	if n == nil {
		return nil
	}
	var out []string
	for _, c := range n.Content {
		out = append(out, c.Value)
	}
	return out
}
