package nginx

import (
	"fmt"
	"path"
	"strings"
)

// nginx itself reads the configuration and judges it: `nginx -T`, `nginx -t`. Here
// directives are only found in what it prints, with their file and line. A
// library's tree, from which a file is built again, would be of no use: of
// somebody's file one line is added or changed, and every other byte stays. The
// words are needed besides, to see that two files are the same to nginx, also of
// one that is cut short.

// directive is one of nginx's configuration, with where it stands. A block has
// its directives, an include those of all files that nginx has read for it.
type directive struct {
	words []string
	block []directive
	file  string
	line  int
}

func (d directive) name() string { return d.words[0] }

// arg is an argument, "" where there is none.
func (d directive) arg(n int) string {
	if n < len(d.words) {
		return d.words[n]
	}
	return ""
}

func (d directive) at() string { return fmt.Sprintf("%s:%d", d.file, d.line) }

// each calls do for the directives of a context, those of included files in
// their place. It goes into no other block.
func each(list []directive, do func(directive)) {
	for _, d := range list {
		do(d)
		if d.name() == "include" {
			each(d.block, do)
		}
	}
}

// deep is each for the context and all blocks within it.
func deep(list []directive, do func(directive)) {
	for _, d := range list {
		do(d)
		deep(d.block, do)
	}
}

// reading is the state of parsing one file.
type reading struct {
	file, text      string
	at, line, depth int
}

// Bounds far above any configuration: what a host prints need not be one.
const (
	maxBlocks     = 100     // within each other
	maxDirectives = 200_000 // those of included files as often as they are included
)

// token reads the next word or one of ; { }, as nginx does
// (ngx_conf_file.c: ngx_conf_read_token): quotes hold all but their own end, a
// backslash takes the meaning from the next character, # begins a comment only
// where a word could begin, a brace after $ belongs to a variable. An empty
// kind is the end of the file.
func (r *reading) token() (word string, kind byte) {
	r.skipSpace()
	if r.at >= len(r.text) {
		return "", 0
	}
	c := r.text[r.at]
	switch c {
	case ';', '{', '}':
		r.at++
		return "", c
	case '"', '\'':
		return r.quoted(c), 'w'
	}
	var b strings.Builder
	for r.at < len(r.text) {
		c := r.text[r.at]
		variable := r.at > 0 && r.text[r.at-1] == '$'
		if c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ';' || c == '{' && !variable {
			break
		}
		if c == '\\' && r.at+1 < len(r.text) {
			b.WriteByte(c)
			r.at++
		}
		r.at++
		b.WriteByte(r.text[r.at-1])
	}
	return b.String(), 'w'
}

func (r *reading) skipSpace() {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == '\n':
			r.line++
		case c == '#':
			for r.at < len(r.text) && r.text[r.at] != '\n' {
				r.at++
			}
			continue
		case c != ' ' && c != '\t' && c != '\r':
			return
		}
		r.at++
	}
}

func (r *reading) quoted(quote byte) string {
	var b strings.Builder
	for r.at++; r.at < len(r.text) && r.text[r.at] != quote; r.at++ {
		if r.text[r.at] == '\\' && r.at+1 < len(r.text) {
			r.at++
		}
		if r.text[r.at] == '\n' {
			r.line++
		}
		b.WriteByte(r.text[r.at])
	}
	r.at++
	return b.String()
}

// context reads directives until the block or the file ends. nginx has read
// the text before and found it good, so what is left open is no matter here.
func (r *reading) context() []directive {
	var list []directive
	var words []string
	line := 0
	for {
		word, kind := r.token()
		if len(words) == 0 {
			line = r.line
		}
		switch kind {
		case 0, '}':
			return list
		case 'w':
			words = append(words, word)
			continue
		}
		if len(words) == 0 {
			continue
		}
		d := directive{words: words, file: r.file, line: line}
		switch {
		case kind == '{' && (r.depth == maxBlocks || strings.HasSuffix(words[0], "_by_lua_block")):
			r.skipLua()
		case kind == '{':
			r.depth++
			d.block = r.context()
			r.depth--
		}
		list, words = append(list, d), nil
	}
}

// skipLua goes over a block in Lua, which has comments and quotes of its own:
// its braces are in pairs.
func (r *reading) skipLua() {
	for depth := 1; r.at < len(r.text) && depth > 0; r.at++ {
		switch r.text[r.at] {
		case '{':
			depth++
		case '}':
			depth--
		case '\n':
			r.line++
		}
	}
}

// parse reads one file.
func parse(file, text string) []directive {
	r := &reading{file: file, text: text, line: 1}
	return r.context()
}

// sameToNginx tells whether nginx reads the same in two files. Somebody who has
// written ours by hand, or moved its lines, has changed nothing.
func sameToNginx(a, b string) bool {
	x, y := reading{text: a}, reading{text: b}
	for {
		word, kind := x.token()
		other, otherKind := y.token()
		if word != other || kind != otherKind {
			return false
		}
		if kind == 0 {
			return true
		}
	}
}

// dumpedFile is how `nginx -T` begins each file (nginx.c: ngx_dump_config).
const dumpedFile = "# configuration file "

// parseDump reads what `nginx -T` prints: every file that nginx reads, each
// once, nginx.conf first. It returns the main context with the included files
// in their places.
func parseDump(dump string) []directive {
	files := map[string]*strings.Builder{}
	var order []string
	into := &strings.Builder{}
	for line := range strings.Lines(dump) {
		if rest, ok := strings.CutPrefix(line, dumpedFile); ok && strings.HasSuffix(rest, ":\n") {
			name := strings.TrimSuffix(rest, ":\n")
			if files[name] == nil {
				files[name] = &strings.Builder{}
				order = append(order, name)
			}
			into = files[name]
			continue
		}
		into.WriteString(line)
	}
	if len(order) == 0 {
		return nil
	}
	parsed := map[string][]directive{}
	for _, f := range order {
		parsed[f] = parse(f, files[f].String())
	}
	return included(parsed, order, parsed[order[0]], 0, new(int))
}

// included puts files in the place of the lines that include them.
func included(parsed map[string][]directive, order []string, list []directive, depth int, count *int) []directive {
	out := make([]directive, len(list))
	for i, d := range list {
		if d.block != nil {
			d.block = included(parsed, order, d.block, depth, count)
		}
		// Files that include each other nginx refuses; the bounds are for a
		// dump that is not what it seems.
		if *count++; d.name() == "include" && depth < 20 && *count < maxDirectives {
			for _, f := range order {
				if matches(includeMask(d), f) {
					d.block = append(d.block, included(parsed, order, parsed[f], depth+1, count)...)
				}
			}
		}
		out[i] = d
	}
	return out
}

// includeMask is what an include line names, from the root: nginx takes it from
// the folder of nginx.conf (ngx_conf_full_name).
func includeMask(d directive) string {
	if mask := d.arg(1); !path.IsAbs(mask) {
		return path.Join(path.Dir(nginxConf), mask)
	}
	return d.arg(1)
}

// matches is glob(3): a star takes no slash, and no dot at the beginning.
func matches(mask, file string) bool {
	ok, err := path.Match(path.Clean(mask), file)
	if err != nil || !ok {
		return path.Clean(mask) == file
	}
	return !strings.HasPrefix(path.Base(file), ".") || strings.HasPrefix(path.Base(mask), ".")
}
