package overlap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
)

// redirectByHand shows the very rules that the step loads.
func redirectByHand() string {
	r, err := toTwin(apiserver.Front{Address: "{{.First.Address}}:6443", Service: "SERVICE_IP:443"})
	if err != nil {
		return err.Error()
	}
	rules, err := r.NFT()
	if err != nil {
		return err.Error()
	}
	return "With the kubernetes Service's address for SERVICE_IP:\n\n```\nkubectl get service kubernetes\nnft -f - <<EOF\n" + rules + "EOF\n```\n"
}

func (r Restart) removeRedirect(needs migrate.StepID) phases.Step {
	return phases.Step{
		ID:     r.id("overlap-back"),
		Title:  "Send new connections to the real API server again",
		Why:    "It is ready with its new arguments.",
		On:     migrate.FirstControlPlane,
		Needs:  []migrate.StepID{needs},
		ByHand: "The redirect leaves 127.0.0.1 alone; this asks the real one:\n\n```\ncurl -sk -o /dev/null -w '%{http_code}' https://127.0.0.1:6443/readyz    # 200\nnft delete table ip " + redirectName + "\n```\n",
		Check: r.teardown(func(ctx context.Context, v phases.View) (bool, error) {
			there, err := Redirected(ctx, v.On(v.Target()))
			if err != nil || there {
				return there, err
			}
			return apiserver.WatchdogArmed(ctx, v.On(v.Target()))
		}, "new connections go to the second API server"),
		Apply: func(ctx context.Context, h phases.Hands, _ migrate.Before) error {
			if err := apiserver.Readyz(ctx, h.View, h.Target()); err != nil {
				return err
			}
			host := h.On(h.Target())
			if err := apiserver.DisarmWatchdog(ctx, host); err != nil {
				return err
			}
			return table().Remove(ctx, host)
		},
		Verify: func(ctx context.Context, v phases.View) error {
			return phases.SideBySide(
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
				func() error { return twinAnswers(ctx, v, v.Target(), false) })
		},
		Undo:   r.undoBack,
		Settle: time.Minute,
	}
}

// teardown makes the check of a step that takes the overlap away. In the plan
// of a whole phase it says what will have been set up by then.
func (r Restart) teardown(there func(context.Context, phases.View) (bool, error), present string) func(context.Context, phases.View) (migrate.Finding, error) {
	return func(ctx context.Context, v phases.View) (migrate.Finding, error) {
		ok, err := there(ctx, v)
		if err != nil {
			return migrate.Finding{}, err
		}
		if ok {
			return phases.Need(migrate.Before{"state": "present"}, "%s", present), nil
		}
		done, err := r.Done(ctx, v)
		if err != nil {
			return migrate.Finding{}, err
		}
		if !done {
			return phases.Need(migrate.Before{"state": "to come"}, "it will have been set up by then"), nil
		}
		return phases.Done("it is gone"), nil
	}
}

func (r Restart) removeTwin() phases.Step {
	return phases.Step{
		ID:     r.id("overlap-end"),
		Title:  "Stop the second API server",
		Why:    "The real one does the work; its own lease fills the kubernetes endpoints.",
		On:     migrate.FirstControlPlane,
		Needs:  []migrate.StepID{r.id("overlap-back")},
		ByHand: "```\nrm " + TwinManifest + "    # after some seconds, for connections that are on their way\netcdctl del " + standInKey + "\n```\n",
		Check: r.teardown(func(ctx context.Context, v phases.View) (bool, error) {
			there, err := twinThere(ctx, v.On(v.Target()))
			if err != nil || there {
				return there, err
			}
			e, err := v.Etcd(ctx)
			if err != nil {
				return false, err
			}
			_, there, err = e.Get(ctx, standInKey)
			return there, err
		}, "the second API server runs"),
		Apply:  applyRemoveTwin,
		Verify: verifyRemoveTwin,
		Undo:   r.undoEnd,
		Settle: 2 * time.Minute, WaitsFor: "kubelet",
	}
}

func applyRemoveTwin(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	host := h.On(h.Target())
	if is, err := Redirected(ctx, host); err != nil || is {
		return errors.Join(err, errors.New("connections are still redirected to the second API server"))
	}
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	// The real one renews its lease every 10 s; without it the endpoints
	// would be emptied with the stand-in.
	if _, there, err := e.Get(ctx, leaseKey(h.First().Address)); err != nil || !there {
		return errors.Join(err, fmt.Errorf("the API server of %s holds no lease for the kubernetes endpoints yet: run again in some seconds", h.First().Name))
	}
	if err := e.Delete(ctx, standInKey); err != nil {
		return err
	}
	// A way back that was killed and is now taken back itself left it; the twin
	// goes last, since it is what this step is found by.
	if err := forgetCheck(ctx, h); err != nil {
		return err
	}
	if err := signalTwin(ctx, h); err != nil {
		return err
	}
	if err := host.Remove(ctx, TwinManifest); err != nil {
		return err
	}
	return apiserver.IgnoreTimeout(ctx, awaitTwinEnd(ctx, h))
}

func verifyRemoveTwin(ctx context.Context, v phases.View) error {
	if err := twinGone(ctx, v); err != nil {
		return err
	}
	address, err := v.APIAddress(ctx, v.Target())
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	k, err := v.Kube(ctx)
	if err != nil {
		return err
	}
	filled, err := k.EndpointAddresses(ctx, "default", "kubernetes")
	if err != nil {
		return err
	}
	if !slices.Contains(filled, host) {
		return fmt.Errorf("the kubernetes endpoints lack %s: %s", host, strings.Join(filled, ", "))
	}
	return nil
}
