package hostfiles

import (
	"context"
	"errors"

	"hamigrate/migrate/remote"
)

// killed is the lowest status of a command that a signal has ended.
const killed = 128

// Confirms asks a host a question whose answer is the exit status of a look. Only a
// status of the command's own is a no: a look that was given up, was refused, or
// was killed has answered nothing, and is an error.
func Confirms(ctx context.Context, r remote.Reader, question remote.Command) (bool, error) {
	_, err := r.Look(ctx, question)
	var exit *remote.ExitError
	if errors.As(err, &exit) && exit.Status < killed {
		return false, nil
	}
	return err == nil, err
}
