// Package show is the way of text to whoever reads it on a terminal.
//
// Most of what is printed was said by others: by hosts, API servers, a journal,
// a saved plan, an inventory. Printed as it came, such a text can clear the
// screen, rename the window, or begin a line that looks like one of ours, with
// a command to paste. So Fprintf and the others here quote every argument but
// those of type Own. Own is what this package has quoted already, or a
// constant of the program. The rest of the program prints in no other way; a
// test of cmd/migrate looks for one.
package show

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Own is text that may go to the terminal as it is: this program made it, and
// what of others is in it has been quoted. Make it with Sprintf, Foreign, Cell,
// or of a constant.
type Own string

// Continued begins every line but the first of a text that is not ours, so that
// none of them passes for a line of the program.
const Continued = "    | "

// longest is how much of one text is shown, in bytes. A host can say megabytes.
const longest = 8 << 10

// Foreign returns a text as it can be shown: control characters, characters
// that change the direction of writing or cannot be seen, and bytes that are no
// UTF-8 are written as \u001b; lines after the first are marked.
func Foreign(text string) Own {
	text = strings.ReplaceAll(strings.TrimRight(cut(text), "\r\n"), "\r\n", "\n")
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = quote(line)
	}
	return Own(strings.Join(lines, "\n"+Continued))
}

// Cell returns a value on one line, for a cell of a table, quoted as Foreign does
// it.
func Cell(value any) Own {
	if own, ok := value.(Own); ok {
		return own
	}
	text := strings.TrimRight(cut(fmt.Sprint(value)), "\r\n")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", " | ")
	return Own(quote(text))
}

// cut takes what is too long off a text, and says so.
func cut(text string) string {
	if len(text) <= longest {
		return text
	}
	end := longest
	for end > longest-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes more)", text[:end], len(text)-end)
}

// quote writes what must not reach a terminal as JSON writes it.
func quote(line string) string {
	if strings.IndexFunc(line, hidden) < 0 && utf8.ValidString(line) {
		return line
	}
	var b strings.Builder
	for i, r := range line {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(line[i:], "\uFFFD"): // a byte that is no UTF-8
			fmt.Fprintf(&b, `\u%04x`, line[i])
		case hidden(r):
			escape(&b, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// JSON returns a JSON text, on one line, in which what must not reach a terminal is
// escaped. It means the same.
func JSON(text []byte) []byte { return []byte(quote(string(text))) }

// hidden says whether a character does something else than to be seen. A tab is
// let through: manifests and nginx's configuration have them.
func hidden(r rune) bool { return r != '\t' && !strconv.IsPrint(r) && r != '\u00a0' }

// escape writes a character as JSON does, so that a JSON text in which it stood
// still means the same.
func escape(b *strings.Builder, r rune) {
	if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
		fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
		return
	}
	fmt.Fprintf(b, `\u%04x`, r)
}

// Sprintf composes a text of ours. Arguments are quoted, but those of type Own.
func Sprintf(format string, args ...any) Own {
	if false {
		_ = fmt.Sprintf(format, args...) // lets go vet check the callers
	}
	return Own(fmt.Sprintf(format, quoted(args)...))
}

// Fprintf prints a text of ours to w as Sprintf composes it.
func Fprintf(w io.Writer, format string, args ...any) (int, error) {
	if false {
		_ = fmt.Sprintf(format, args...)
	}
	return fmt.Fprintf(w, format, quoted(args)...)
}

// Fprintln prints its arguments as Fprintf does, with spaces between and a line
// break at the end.
func Fprintln(w io.Writer, args ...any) (int, error) {
	return fmt.Fprintln(w, quoted(args)...)
}

// quoted makes of each argument one that formats itself and quotes what comes of
// it, whatever the verb.
func quoted(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		switch v := a.(type) {
		case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64, time.Duration, time.Time:
			out[i] = a // they have no text of others
		case Own:
			out[i] = string(v)
		case error:
			out[i] = shownError{v}
		default:
			out[i] = foreign{a}
		}
	}
	return out
}

// shownError is an error as an argument.
type shownError struct{ err error }

// Format shows the error as Error does, but where a verb wants something else.
func (e shownError) Format(s fmt.State, verb rune) {
	if verb == 'v' || verb == 's' {
		io.WriteString(s, string(Error(e.err))) //nolint:errcheck // fmt's state takes all
		return
	}
	foreign{e.err}.Format(s, verb)
}

// foreign is an argument that may hold a text of others.
type foreign struct{ value any }

// Format formats the value as fmt would, and quotes that.
func (f foreign) Format(s fmt.State, verb rune) {
	io.WriteString(s, string(Foreign(fmt.Sprintf(fmt.FormatString(s, verb), f.value)))) //nolint:errcheck // fmt's state takes all
}
