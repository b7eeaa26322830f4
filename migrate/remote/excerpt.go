package remote

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// excerptLimit is how many characters of a host's words an error quotes: two
// lines of a terminal, which is enough to know a program by its message.
const excerptLimit = 200

// Excerpt is what a host has said, for a sentence of ours: a host may say
// megabytes, and nobody reads them. Of a long text it is the beginning, with how
// much there was.
func Excerpt(said string) string {
	said = strings.TrimSpace(said)
	if len(said) <= excerptLimit { // bytes: then there are no more characters
		return said
	}
	cut := said[:runes(said, excerptLimit)]
	if len(cut) == len(said) {
		return said
	}
	return fmt.Sprintf("%s … (%d bytes in all)", cut, len(said))
}

// runes is where the n-th character of a text ends.
func runes(text string, n int) int {
	end := 0
	for range n {
		if end == len(text) {
			break
		}
		_, size := utf8.DecodeRuneInString(text[end:])
		end += size
	}
	return end
}

// LastWords is Excerpt for what a program has written to its standard error:
// what counts there is the end, since warnings come before the reason.
func LastWords(said string) string {
	said = strings.TrimSpace(said)
	if len(said) <= stderrLimit {
		return said
	}
	from := len(said) - stderrLimit
	for from < len(said) && !utf8.RuneStart(said[from]) {
		from++
	}
	return "… " + said[from:]
}

// stderrLimit is more than excerptLimit: kubeadm and nginx give their reason in
// several lines.
const stderrLimit = 1000
