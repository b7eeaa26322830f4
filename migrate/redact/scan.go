package redact

import (
	"regexp"
	"strings"
)

// reach says where a value goes to that has no quotes.
type reach int

const (
	toSpace reach = iota // to the next space: an argument of a command
	toMark               // also to a quote, a comma or a bracket: a token
	toParam              // also to the next parameter of a URL
	toEnd                // to the end of the line: a password may have spaces in it
)

// hideAfter hides what stands behind each name that head finds. It goes through the
// line once, however many names it has.
func hideAfter(line string, head *regexp.Regexp, how reach) string {
	var out strings.Builder
	done := 0
	for _, m := range head.FindAllStringIndex(line, -1) {
		from := m[1]
		if from < done || from >= len(line) {
			continue
		}
		to := valueEnd(line, from, how)
		value := line[from:to]
		if to == from || isNone(value) || alreadyHidden.MatchString(line[from:]) {
			continue
		}
		out.WriteString(line[done:from])
		out.WriteString(around(value, how))
		done = to
	}
	return out.String() + line[done:]
}

// alreadyHidden stands where this package has been before.
var alreadyHidden = regexp.MustCompile(`^\\*["']?\[hidden( [0-9a-f]{8})?\]`)

// isNone says of a value that it is none.
func isNone(value string) bool {
	bare := strings.Trim(value, " \t\r,}])")
	switch bare {
	case "", "true", "false", "null", `""`, "''", `\"\"`:
		return true
	}
	first, _, _ := strings.Cut(bare, ",")
	return first == "true" || first == "false" || first == "null"
}

// around is what stands for a value. The quotes stay, so that what stands around
// it is still read.
func around(value string, how reach) string {
	open := quoteAt(value, 0)
	bare := value[open:]
	shut := 0
	if open > 0 && strings.HasSuffix(bare, value[:open]) {
		shut = open
	}
	bare = bare[:len(bare)-shut]
	stands := hidden
	if how == toMark {
		stands = digestedOrHidden(bare)
	}
	return value[:open] + stands + value[:open][:shut]
}

// valueEnd is where the value that begins at from ends.
func valueEnd(s string, from int, how reach) int {
	switch {
	case quoteAt(s, from) > 0:
		return quotedEnd(s, from)
	case s[from] == '{' || s[from] == '[':
		return bracketEnd(s, from)
	case how == toEnd:
		return len(s)
	}
	return wordEnd(s, from, how)
}

// quoteAt is the length of the quote at i, with the backslashes before it: in a
// JSON text within another one each quote has some. 0: there is none.
func quoteAt(s string, i int) int {
	at := i
	for at < len(s) && s[at] == '\\' {
		at++
	}
	if at < len(s) && (s[at] == '"' || s[at] == '\'') {
		return at - i + 1
	}
	return 0
}

// quoteClose is where the text ends whose quote stands at i, or -1. A quote within
// the text has more backslashes before it than its own quotes have.
func quoteClose(s string, i int) int {
	n := quoteAt(s, i)
	mark, own := s[i+n-1], n-1
	if triple := strings.Repeat(string(mark), 3); own == 0 && strings.HasPrefix(s[i:], triple) {
		if at := strings.Index(s[i+3:], triple); at >= 0 {
			return i + 3 + at + 3
		}
	}
	run := 0
	for at := i + n; at < len(s); at++ {
		switch {
		case s[at] == '\\':
			run++
			continue
		case s[at] == mark && run >= own && ((run-own)%(2*n) == 0 || mark == '\'' && own == 0):
			return at + 1
		}
		run = 0
	}
	return -1
}

// quotedEnd is where a quoted value ends, with what is glued to it: two quotes in
// a row are one in YAML, and a shell goes on behind a quote. One that is not closed
// goes to the end.
func quotedEnd(s string, from int) int {
	own := quoteAt(s, from)
	mark := s[from+own-1]
	at := quoteClose(s, from)
	for at >= 0 && at < len(s) && !stops(s, at) {
		n := quoteAt(s, at)
		switch {
		case n == 0:
			at++
		case n < own:
			return at // the quote of the text around it
		default:
			next := quoteClose(s, at)
			if next < 0 && s[at+n-1] != mark {
				return at
			}
			at = next
		}
	}
	if at < 0 {
		return len(s)
	}
	return at
}

// stops says that a value that had quotes does not go on at i.
func stops(s string, i int) bool {
	if s[i] == '\\' {
		return i+1 < len(s) && strings.IndexByte("nrt", s[i+1]) >= 0 // a line break in JSON
	}
	return strings.IndexByte(" \t\r,}]);&:", s[i]) >= 0
}

// wordEnd is where a value without quotes ends.
func wordEnd(s string, from int, how reach) int {
	marks := map[reach]string{toSpace: " \t\r", toMark: " \t\r,}", toParam: " \t\r,}&#;"}[how]
	at := from
	for at < len(s) && strings.IndexByte(marks, s[at]) < 0 {
		if n := quoteAt(s, at); n > 0 {
			next := quoteClose(s, at)
			switch {
			case next >= 0 && (next == len(s) || stops(s, next)): // a"b c"
				at = next
				continue
			case how != toSpace:
				return at
			}
			at += n
			continue
		}
		at++
	}
	return at
}

// bracketEnd is where what begins with a bracket at from ends, quotes considered;
// one that is not closed goes to the end.
func bracketEnd(s string, from int) int {
	depth := 0
	for at := from; at < len(s); at++ {
		switch s[at] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return at + 1
			}
		case '\\', '"', '\'':
			n := quoteAt(s, at)
			if n == 0 || strings.IndexByte("{[,: \t", s[at-1]) < 0 {
				continue
			}
			if at = quoteClose(s, at) - 1; at < 0 {
				return len(s)
			}
		}
	}
	return len(s)
}

// hideMaps hides what a Secret has in its data, written on one line.
func hideMaps(line string) string {
	var out strings.Builder
	done := 0
	for _, m := range mapHead.FindAllStringIndex(line, -1) {
		if from := m[1] - 1; from >= done && strings.TrimSpace(line[m[1]:]) != "" {
			out.WriteString(line[done:from] + "{}")
			done = bracketEnd(line, from)
		}
	}
	return out.String() + line[done:]
}
