package remote

import (
	"context"
	"errors"
	"slices"
	"strings"

	"hamigrate/migrate/show"
)

// Limited is implemented by Hosts that know logins which may only look.
type Limited interface {
	// MayChange is a *LooksOnlyError where the login may only look. It
	// connects.
	MayChange(ctx context.Context) error
}

// LooksOnlyError is a change that was asked of a login that may only look.
// Nothing was sent to the host.
type LooksOnlyError struct {
	Host, User string
	Allow      string // the command that allows changes
}

func (e *LooksOnlyError) Error() string { return e.Unwrap().Error() }

// Unwrap returns the same text in lines of the program's own, so that the command
// can be pasted wherever the error is shown.
func (e *LooksOnlyError) Unwrap() error {
	return show.Errorf(nil, "user %s on %s may only look: allow changes with\n  %s", e.User, e.Host, e.Allow)
}

// RefusedError is a look for which sudo refused a program: what the look printed
// says nothing.
type RefusedError struct {
	Host, User string
	Command    string // what was refused
	Allow      string // the command that allows it
}

func (e *RefusedError) Error() string { return e.Unwrap().Error() }

// Unwrap is as that of LooksOnlyError.
func (e *RefusedError) Unwrap() error {
	return show.Errorf(nil, "not seen, because sudo on %s refuses user %s what this look needs (`%s`): allow it with\n  %s", e.Host, e.User, e.Command, e.Allow)
}

// Allowing takes the command that an error ends with, and that allows what a login
// was refused, out of its text: for a place where both are shown apart. The command
// is empty where the error is no such one.
func Allowing(err error) (sentence, command string) {
	var looksOnly *LooksOnlyError
	var refused *RefusedError
	switch sentence = err.Error(); {
	case errors.As(err, &looksOnly):
		command = looksOnly.Allow
	case errors.As(err, &refused):
		command = refused.Allow
	default:
		return sentence, ""
	}
	for _, words := range []string{": allow changes with", ": allow it with", ""} {
		sentence = strings.Replace(sentence, words+"\n  "+command, "", 1)
	}
	return sentence, command
}

// AllowingIn is Allowing of the errors among the arguments of a sentence.
func AllowingIn(args []any) (out []any, command string) {
	out = slices.Clone(args)
	for i, a := range out {
		if err, is := a.(error); is {
			sentence, allow := Allowing(err)
			if allow != "" {
				out[i], command = sentence, allow
			}
		}
	}
	return out, command
}
