package overlap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
	"hamigrate/phases/redirect"

	"k8s.io/apimachinery/pkg/util/wait"
)

// redirectName is the nft table, or the chain of iptables, that holds the
// redirect and nothing else.
const redirectName = "migrate_overlap"

// table holds the redirect to the temporary API server.
func table() redirect.Table { return redirect.Table{Name: redirectName, Title: "the redirect"} }

// toTemporary sends new connections for an API server to the temporary one.
// Those to 127.0.0.1 are left alone, which is how the real one is watched
// meanwhile.
func toTemporary(f apiserver.Front) (redirect.Redirect, error) {
	to, err := beside(f.Address)
	return redirect.Redirect{Table: table(), From: []string{f.Address, f.Service}, To: to}, err
}

// Redirected says whether new connections are sent to the temporary API
// server.
func Redirected(ctx context.Context, r remote.Reader) (bool, error) { return table().Loaded(ctx, r) }

// redirect sends clients to the temporary API server.
func (r Restart) redirect() phases.Step {
	return phases.Step{
		ID:     r.RedirectID(),
		Title:  "Send new connections to the second API server",
		Why:    "From here on the real one may stop and nobody notices.",
		On:     migrate.FirstControlPlane,
		Needs:  []migrate.StepID{r.id("overlap-twin"), r.id("overlap-endpoints")},
		ByHand: redirectByHand(),
		Check: r.setup(func(ctx context.Context, v phases.Reader) (bool, error) { return Redirected(ctx, v.On(v.Target())) },
			"connections go to the real API server"),
		Apply:  applyRedirect,
		Verify: func(ctx context.Context, v phases.Reader) error { return temporaryAnswers(ctx, v, true) },
		Undo:   undoRedirect,
		Settle: time.Minute, Group: r.StepGroup(),
	}
}

// redirectByHand shows the very rules that the step loads.
func redirectByHand() string {
	r, err := toTemporary(apiserver.Front{Address: "{{.First.Address}}:6443", Service: "SERVICE_IP:443"})
	if err != nil {
		return err.Error()
	}
	rules, err := r.NFT()
	if err != nil {
		return err.Error()
	}
	return "With the kubernetes Service's address for SERVICE_IP:\n\n```\nkubectl get service kubernetes\nnft -f - <<EOF\n" + rules + "EOF\n```\n"
}

// applyRedirect proves the temporary API server first and takes the redirect
// away again when not every path ends there: behind it clients would fail.
func applyRedirect(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	cfg, err := temporaryConfig(ctx, h.Reader)
	if err != nil {
		return err
	}
	if err := kube.WriteAndRead(ctx, cfg, checkName); err != nil {
		return err
	}
	if err := temporaryReachable(ctx, h.Reader); err != nil {
		return err
	}
	to, err := apiserver.FrontOf(ctx, h.Reader, h.Target())
	if err != nil {
		return err
	}
	host := h.On(h.Target())
	if err := addRedirect(ctx, host, to); err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		last = temporaryAnswers(ctx, h.Reader, true)
		return last == nil, nil
	})
	if err != nil {
		err = errors.Join(last, err)
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return errors.Join(fmt.Errorf("the redirect does not lead to the second API server on every path, and is taken away again: %w", err), table().Remove(undo, host))
	}
	return nil
}

func addRedirect(ctx context.Context, h remote.Host, f apiserver.Front) error {
	r, err := toTemporary(f)
	if err == nil {
		err = r.Add(ctx, h)
	}
	if err != nil {
		return fmt.Errorf("redirecting %s to the second API server: %w", f.Address, err)
	}
	return nil
}

// Ready is asked in the moment before the real API server is changed: the
// temporary one answers on every path, and the kubernetes endpoints stay filled
// for long enough.
func Ready(ctx context.Context, h phases.Writer) error {
	if err := temporaryAnswers(ctx, h.Reader, true); err != nil {
		return err
	}
	return fillEndpoints(ctx, h)
}

// undoRedirect gives the clients back to the real API server when that
// answers.
func undoRedirect(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	host := h.On(h.Target())
	is, err := Redirected(ctx, host)
	if err != nil {
		return err
	}
	if !is {
		return nil
	}
	if err := apiserver.Readyz(ctx, h.Reader, h.Target()); err != nil {
		return fmt.Errorf("the API server on %s is not ready, so the redirect stays and the second one goes on carrying the clients: %w", h.Target(), err)
	}
	return table().Remove(ctx, host)
}
