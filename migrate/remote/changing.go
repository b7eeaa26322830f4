package remote

import "context"

type changing struct{}

// Changing marks a context under which something is changed, or a connection is
// dialed that a change needs. What is known of a host that does not answer is
// there so that looks do not wait one after the other; a change is tried all the
// same.
func Changing(ctx context.Context) context.Context {
	return context.WithValue(ctx, changing{}, true)
}

// Changes says whether ctx is marked.
func Changes(ctx context.Context) bool { return ctx.Value(changing{}) != nil }
