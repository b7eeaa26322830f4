package overlap

import (
	"context"
	"errors"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
)

// back sends clients to the real API server, with its new arguments, again.
func (r Restart) back(needs migrate.StepID) phases.Step {
	return phases.Step{
		ID:     r.id("overlap-back"),
		Title:  "Send new connections to the real API server again",
		Why:    "It is ready with its new arguments.",
		On:     migrate.FirstControlPlane,
		Needs:  []migrate.StepID{needs},
		ByHand: "The redirect leaves 127.0.0.1 alone; this asks the real one:\n\n```\ncurl -sk -o /dev/null -w '%{http_code}' https://127.0.0.1:6443/readyz    # 200\nnft delete table ip " + redirectName + "\n```\n",
		Check: r.teardown(func(ctx context.Context, v phases.Reader) (bool, error) {
			there, err := Redirected(ctx, v.On(v.Target()))
			if err != nil || there {
				return there, err
			}
			return apiserver.WatchdogArmed(ctx, v.On(v.Target()))
		}, "new connections go to the second API server"),
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			if err := apiserver.Readyz(ctx, h.Reader, h.Target()); err != nil {
				return err
			}
			host := h.On(h.Target())
			if err := apiserver.DisarmWatchdog(ctx, host); err != nil {
				return err
			}
			return table().Remove(ctx, host)
		},
		Verify: func(ctx context.Context, v phases.Reader) error {
			return parallel.Do(
				func() error {
					is, err := apiserver.WatchdogArmed(ctx, v.On(v.Target()))
					if err == nil && is {
						err = errors.New("the timer that puts the old manifest back is armed")
					}
					return err
				},
				func() error {
					is, err := Redirected(ctx, v.On(v.Target()))
					if err == nil && is {
						err = errors.New("the redirect is still there")
					}
					return err
				},
				func() error { return temporaryAnswers(ctx, v, false) })
		},
		Undo:   r.undoBack,
		Settle: time.Minute,
	}
}

// undoBack sends new connections to the temporary API server again. Where the
// step was cut off before its end, that has the new arguments still: they prove
// nothing for the former ones, so it is made again.
func (r Restart) undoBack(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	is, err := Redirected(ctx, h.On(h.Target()))
	if err != nil {
		return err
	}
	if !is {
		if err := r.startPrevious(ctx, h); err != nil {
			return err
		}
	}
	// The lease of an undo that was begun and left alone may have ended.
	if err := fillEndpoints(ctx, h); err != nil {
		return err
	}
	return applyRedirect(ctx, h, nil)
}
