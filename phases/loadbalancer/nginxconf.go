package loadbalancer

import "strings"

// mainContext reads what stands in nginx's main context: the names and
// contents of its blocks, and its simple directives ("include x", "user y").
// It is enough to find where our file belongs; nginx itself judges the result.
func mainContext(conf string) (blocks map[string]string, directives []string) {
	blocks = map[string]string{}
	conf = withoutComments(conf)
	depth, begin := 0, 0
	name := ""
	for i, c := range conf {
		switch c {
		case '{':
			if depth == 0 {
				name, begin = strings.TrimSpace(conf[begin:i]), i+1
			}
			depth++
		case '}':
			if depth--; depth == 0 {
				blocks[name] += conf[begin:i]
				begin = i + 1
			}
		case ';':
			if depth == 0 {
				directives = append(directives, strings.Join(strings.Fields(conf[begin:i]), " "))
				begin = i + 1
			}
		}
	}
	return blocks, directives
}

// withoutComments blanks comments; a # inside a word or quotes is none.
func withoutComments(conf string) string {
	var out strings.Builder
	quote, comment := rune(0), false
	last := rune('\n')
	for _, c := range conf {
		switch {
		case comment:
			if c != '\n' {
				continue
			}
			comment = false
		case quote != 0:
			if c == quote && last != '\\' {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '#' && strings.ContainsRune(" \t\n;{}", last):
			comment = true
			continue
		}
		out.WriteRune(c)
		last = c
	}
	return out.String()
}
