package migrate

import "errors"

// hopeless is an error that no waiting mends.
type hopeless struct{ error }

func (e hopeless) Unwrap() error { return e.error }

// Hopeless marks the error of a Verify, of the invariants or of a wait inside a change
// as one that stays until somebody acts: an image that can't be pulled, a unit
// that systemd has given up, a roll-out that is paused. A wait ends on it at
// once, with this error, instead of after its whole time. Nil stays nil.
//
// It is for what is known to last. What is only slow must not be marked: a
// step of a group that ends in an error is undone.
func Hopeless(err error) error {
	if err == nil {
		return nil
	}
	return hopeless{err}
}

// IsHopeless says whether err, or one that it wraps, is marked.
func IsHopeless(err error) bool { return errors.As(err, new(hopeless)) }
