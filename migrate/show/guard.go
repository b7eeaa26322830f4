package show

import (
	"io"
	"strings"
	"unicode/utf8"
)

// The colours that the program uses.
const (
	Red    Own = "\x1b[31m"
	Green  Own = "\x1b[32m"
	Yellow Own = "\x1b[33m"
	Bold   Own = "\x1b[1m"
	Reset  Own = "\x1b[0m"
)

// Rewrite goes to the beginning of a terminal's line and clears it.
const Rewrite Own = "\r\x1b[K"

// Guard is the last door before a terminal: what went around Fprintf is quoted
// here, but for line breaks and the program's own colours. It forwards each Write
// as one.
type Guard struct{ W io.Writer }

// Write says that all was written where all of what it stands for was.
func (g Guard) Write(p []byte) (int, error) {
	text := string(p)
	if plain(text) {
		return g.W.Write(p)
	}
	if _, err := io.WriteString(g.W, guarded(text)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// plain says that a text has nothing to be quoted.
func plain(text string) bool {
	return utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return r != '\n' && hidden(r) }) < 0
}

// guarded quotes all but line breaks and what the program writes itself.
func guarded(text string) string {
	var b strings.Builder
	from := 0
	for i := 0; i < len(text); {
		n := ours(text[i:])
		if n == 0 {
			i++
			continue
		}
		b.WriteString(quote(text[from:i]))
		b.WriteString(text[i : i+n])
		i += n
		from = i
	}
	b.WriteString(quote(text[from:]))
	return b.String()
}

// ours is the length of what the program writes itself at the beginning of a
// text, 0 where there is nothing of it.
func ours(text string) int {
	for _, mark := range []Own{"\n", "\r\n", Rewrite, Red, Green, Yellow, Bold, Reset} {
		if strings.HasPrefix(text, string(mark)) {
			return len(mark)
		}
	}
	return 0
}
