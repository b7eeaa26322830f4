package show

import (
	"errors"
	"strings"
)

// Errorf makes an error of more than one line of the program's own: a list of
// mistakes, or a command on a line of its own. Its text is composed as Sprintf
// does it, so what of others is in it begins no line. cause may be nil;
// errors.Is and errors.As find it.
//
// An error of one line needs nothing of the kind: make it with fmt.Errorf.
func Errorf(cause error, format string, args ...any) error {
	if false {
		_ = Sprintf(format, args...) // lets go vet check the callers
	}
	return &composed{text: Sprintf(format, args...), cause: cause}
}

// composed is an error whose lines are the program's own.
type composed struct {
	text  Own
	cause error
}

func (e *composed) Error() string { return string(e.text) }
func (e *composed) Unwrap() error { return e.cause }

// Error returns the text of an error as it can be shown: quoted, but for the part
// that Errorf made. Errors that errors.Join has put side by side each begin a line.
func Error(err error) Own { return Edited(err, func(text string) string { return text }) }

// Edited is Error of an error whose texts go through edit first, each apart.
func Edited(err error, edit func(string) string) Own {
	text := err.Error()
	if several, ok := err.(interface{ Unwrap() []error }); ok && text == joined(several.Unwrap()) {
		var lines []string
		for _, e := range several.Unwrap() {
			lines = append(lines, string(Edited(e, edit)))
		}
		return Own(strings.Join(lines, "\n"))
	}
	var own *composed
	if !errors.As(err, &own) {
		return Foreign(edit(text))
	}
	before, after, found := strings.Cut(text, string(own.text))
	if !found {
		return Foreign(edit(text))
	}
	return Foreign(edit(before)) + Own(edit(string(own.text))) + Foreign(edit(after))
}

// joined is the text that errors.Join makes.
func joined(errs []error) string {
	if err := errors.Join(errs...); err != nil {
		return err.Error()
	}
	return ""
}
