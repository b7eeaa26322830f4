package phases

import "context"

// Alone waits until nobody else who asks for it is at work, for looks that would
// see each other's traces. release lets the next one in.
func (v View) Alone(ctx context.Context) (release func(), err error) {
	select {
	case v.world.alone <- struct{}{}:
		return func() { <-v.world.alone }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
