// Package redact hides secrets in text that is kept or handed on: the log beside
// the journal, and the archive for somebody who helps.
//
// It goes by what secrets look like (keys in PEM, bootstrap tokens, certificate
// keys, long base64, user and password in a URL) and by the names that stand
// before them (password, token, Authorization, the value of an environment
// variable). What it does not know by either it can't hide, so nothing is given to
// it that is known to be a secret: standard input and passwords are left out by
// those who have them. It hides too much rather than too little.
//
// Of a key or a token, which nobody can guess, a short digest stays: two places
// that hold the same one are seen to. Of a password none does: it could be guessed
// from that.
package redact

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// hidden stands where a secret was that could be guessed.
const hidden = "[hidden]"

// digested stands for a secret that is long and random.
func digested(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return "[hidden " + hex.EncodeToString(sum[:4]) + "]"
}

// Text hides the secrets of a whole text.
func Text(text string) string { return textAt(text, 0) }

// textAt hides those of a text that was decoded as often as depth says.
func textAt(text string, depth int) string {
	l := Lines{depth: depth}
	parts := strings.Split(text, "\n")
	for i, line := range parts {
		parts[i] = l.Line(line)
	}
	return strings.Join(parts, "\n")
}

// Lines hides the secrets of a text that comes line by line: a key has many. The
// zero value is at the beginning.
type Lines struct {
	pem   bool // between BEGIN and END
	block bool // the line before was nothing but base64
	data  int  // the indentation of "data:" plus one; 0: not below one
	all   bool // below "stringData:", where nothing is encoded
	value int  // the same of a hidden value, which may go on below its name
	next  bool // the line before was a flag whose argument is in this one
	depth int
}

// Line hides the secrets of the next line.
func (l *Lines) Line(line string) string {
	line = Plain(line)
	if text, whole := l.key(line); whole {
		return text
	}
	if l.belowValue(line) {
		return hidden
	}
	if l.next = l.next && strings.TrimSpace(line) != ""; l.next {
		l.next = false
		return hidden
	}
	l.next = flagOnly.MatchString(line)
	line = l.inline(line)
	line = l.base64Line(line)
	line = l.belowData(line)
	return words(line, l.depth)
}

// escapes are what moves the cursor, sets a colour or a title (ECMA-48: CSI and
// OSC).
var escapes = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[@-Z\\\\^_]")

// Plain leaves out control characters and what a terminal takes for commands. They
// could stand between the letters of what is looked for, and are of no use in a
// file that is handed on. Tabs and line breaks stay.
func Plain(text string) string {
	if strings.IndexFunc(text, isControl) < 0 {
		return text
	}
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return -1
		}
		return r
	}, escapes.ReplaceAllString(text, ""))
}

func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0
}

// key hides keys in PEM that go over several lines. A text may be cut at either
// end of one: what looks like the inside of one goes, too, and what does not ends
// it.
func (l *Lines) key(line string) (string, bool) {
	if !l.pem {
		return line, false
	}
	bare := strings.TrimLeft(line, " \t+-|>\"'")
	switch {
	case strings.Contains(line, "-----END"):
		l.pem = false
		_, rest, _ := strings.Cut(line, "-----END")
		_, rest, _ = strings.Cut(rest, "-----")
		return hidden + words(rest, l.depth), true
	case bare == "" || isBase64(strings.TrimRight(bare, "\"',\r ")) || strings.HasPrefix(bare, "Proc-Type:") || strings.HasPrefix(bare, "DEK-Info:"):
		return hidden, true
	}
	l.pem = false
	return line, false
}

// inline hides keys in PEM on one line, with whatever stands for its line breaks,
// and begins those that go on.
func (l *Lines) inline(line string) string {
	line = pemWhole.ReplaceAllStringFunc(line, digested)
	if at := strings.Index(line, "-----BEGIN"); at >= 0 {
		l.pem = true
		return line[:at] + hidden
	}
	return line
}

// base64Line hides lines that are nothing but base64, and the short last one after
// them: the inside of a key whose beginning was cut off.
func (l *Lines) base64Line(line string) string {
	bare := strings.Trim(line, " \t\r")
	switch {
	case len(bare) >= longBase64 && isBase64(bare) && mixed(bare):
		l.block = true
		return hidden
	case l.block && bare != "" && isBase64(bare):
		l.block = false
		return hidden
	}
	l.block = false
	return line
}

// belowValue says of a line that it is the rest of a hidden value in YAML: it
// stands deeper than the value's name.
func (l *Lines) belowValue(line string) bool {
	bare := strings.TrimLeft(line, " +-\t")
	indent := len(line) - len(bare)
	if l.value > 0 && bare != "" {
		if indent >= l.value {
			return true
		}
		l.value = 0
	}
	if opens.MatchString(bare) {
		l.value = indent + 1
	}
	return false
}

// belowData hides what stands below a Secret's data.
func (l *Lines) belowData(line string) string {
	indent := len(line) - len(strings.TrimLeft(line, " +-\t"))
	if l.data == 0 || indent < l.data {
		l.data, l.all = 0, false
		if m := dataHead.FindStringSubmatch(line); m != nil {
			l.data, l.all = indent+1, m[1] == "stringData"
			return line
		}
	}
	if l.data == 0 || strings.TrimSpace(line) == "" {
		return line
	}
	if l.all {
		return line[:indent] + hidden
	}
	m := entry.FindStringSubmatch(line)
	if m == nil || len(m[2]) < 4 || !isBase64(strings.Trim(m[2], `"'`)) {
		return line
	}
	return m[1] + digestedOrHidden(m[2]) + m[3]
}

// digestedOrHidden: what is short could be guessed.
func digestedOrHidden(s string) string {
	if len(s) < longBase64 {
		return hidden
	}
	return digested(s)
}
