package inventory

import (
	"fmt"
	"strconv"
	"strings"

	"hamigrate/migrate/inputfile"
)

// ini reads the INI form (ansible: plugins/inventory/ini.py).
func (m *model) ini(data []byte) error {
	current, kind := m.group("ungrouped"), ""
	for i, line := range strings.Split(string(data), "\n") {
		bad := func(format string, args ...any) error {
			return fmt.Errorf("%s:%d: %s", m.file, i+1, brief(fmt.Sprintf(format, args...)))
		}
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		if strings.HasPrefix(line, "[") && !strings.Contains(line, "=") {
			end := strings.IndexByte(line, ']')
			if end < 0 {
				return bad("%s: a section ends with ]", inputfile.Quote(line))
			}
			var name string
			name, kind, _ = strings.Cut(line[1:end], ":")
			if kind != "" && kind != "children" && kind != "vars" {
				return bad("[%.40s:%.40s]: a section is [group], [group:children] or [group:vars]", name, kind)
			}
			if err := checkName("group", name); err != nil {
				return bad("%v", err)
			}
			current = m.group(name)
			continue
		}
		var err error
		switch kind {
		case "children":
			child, _, _ := strings.Cut(line, " ")
			err = m.addChild(current, child)
		case "vars":
			key, value, ok := strings.Cut(line, "=")
			if !ok {
				return bad("%s is no variable: name=value", inputfile.Quote(line))
			}
			current.vars[strings.TrimSpace(key)] = unquote(comment(strings.TrimSpace(value)))
		default:
			err = m.iniHost(current, line)
		}
		if err != nil {
			return bad("%v", err)
		}
	}
	return nil
}

// brief cuts a sentence that quotes a line of any length.
func brief(sentence string) string {
	const most = 400
	if len(sentence) <= most {
		return sentence
	}
	return strings.ToValidUTF8(sentence[:most], "") + "…"
}

// iniHost reads a host line: a name or a range of names, and variables.
func (m *model) iniHost(g *group, line string) error {
	words, err := fields(line)
	if err != nil || len(words) == 0 {
		return err
	}
	pattern := words[0]
	v := vars{}
	// host:port; a colon in brackets is a range, several are an IPv6 address.
	if outside := strings.LastIndex(pattern, "]"); strings.Count(pattern[outside+1:], ":") == 1 {
		at := strings.LastIndex(pattern, ":")
		pattern, v["ansible_port"] = pattern[:at], pattern[at+1:]
	}
	for _, word := range words[1:] {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			return fmt.Errorf("%s behind the host %s is no variable: name=value", inputfile.Quote(word), inputfile.Word(words[0]))
		}
		v[key] = value
	}
	names, err := expand(pattern)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := m.addHost(g, name, v); err != nil {
			return err
		}
	}
	return nil
}

// fields splits a line as a shell does, quotes and comments included.
func fields(line string) ([]string, error) {
	var out []string
	var word strings.Builder
	quote, inWord := rune(0), false
	end := func() {
		if inWord {
			out = append(out, word.String())
		}
		word.Reset()
		inWord = false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, inWord = r, true
		case r == ' ' || r == '\t':
			end()
		case r == '#' && !inWord:
			return out, nil
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quotation mark %c is not closed", quote)
	}
	end()
	return out, nil
}

// comment takes a comment off a value.
func comment(value string) string {
	if strings.HasPrefix(value, `"`) || strings.HasPrefix(value, "'") {
		if end := strings.IndexByte(value[1:], value[0]); end >= 0 {
			return value[:end+2]
		}
		return value
	}
	value, _, _ = strings.Cut(value, " #")
	return strings.TrimSpace(value)
}

func unquote(value string) string {
	if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		return value[1 : n-1]
	}
	return value
}

// Bounds of a range of hosts: a mistyped one shall not fill the memory.
const (
	maxRange   = 10_000
	maxPattern = 1_000 // a name has at most 253 letters
	maxNumber  = 18    // digits, which a number takes without running over
)

// letters are those of a range of letters, in Ansible's order.
const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// expand returns the names that a pattern stands for: node[01:03],
// node[a:c], node[1:9:2], also several ranges in one name.
func expand(pattern string) ([]string, error) {
	begin := strings.IndexByte(pattern, '[')
	if begin < 0 {
		return []string{pattern}, nil
	}
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("%.40q…: it has %d letters, which no name of a host has", pattern, len(pattern))
	}
	length := strings.IndexByte(pattern[begin:], ']')
	parts := []string{}
	if length > 0 {
		parts = strings.Split(pattern[begin+1:begin+length], ":")
	}
	if len(parts) != 2 && len(parts) != 3 {
		return nil, fmt.Errorf("%s: a range is [first:last] or [first:last:step]", inputfile.Quote(pattern))
	}
	step := 1
	if len(parts) == 3 {
		var err error
		if step, err = strconv.Atoi(parts[2]); err != nil || step < 1 {
			return nil, fmt.Errorf("%s: the step of a range is a number from 1 on", inputfile.Quote(pattern))
		}
	}
	values, err := between(or(parts[0], "0"), parts[1], step)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", inputfile.Quote(pattern), err)
	}
	rest, err := expand(pattern[begin+length+1:])
	if err != nil {
		return nil, err
	}
	if len(values)*len(rest) > maxRange {
		return nil, fmt.Errorf("%s stands for more than %d hosts", inputfile.Quote(pattern), maxRange)
	}
	var out []string
	for _, v := range values {
		for _, r := range rest {
			out = append(out, pattern[:begin]+v+r)
		}
	}
	return out, nil
}

// between lists numbers, with leading zeros as in the first, or letters.
func between(first, last string, step int) ([]string, error) {
	var out []string
	from, err := strconv.Atoi(first)
	to, err2 := strconv.Atoi(last)
	switch {
	case len(first) > maxNumber || len(last) > maxNumber:
	case err == nil && err2 == nil && 0 <= from && from <= to && (to-from)/step < maxRange:
		for n := from; n <= to && n >= 0; n += step { // a huge step runs over
			out = append(out, fmt.Sprintf("%0*d", widthOf(first), n))
		}
		return out, nil
	case len(first) == 1 && len(last) == 1:
		from, to := strings.Index(letters, first), strings.Index(letters, last)
		for n := from; from >= 0 && n <= to && n >= 0; n += step {
			out = append(out, letters[n:n+1])
		}
		if out != nil {
			return out, nil
		}
	}
	return nil, fmt.Errorf("from %s to %s is no range", inputfile.Quote(first), inputfile.Quote(last))
}

func widthOf(first string) int {
	if strings.HasPrefix(first, "0") {
		return len(first)
	}
	return 0
}
