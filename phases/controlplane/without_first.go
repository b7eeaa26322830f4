package controlplane

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
	"hamigrate/phases/balancers"
)

// provenFile on the first control-plane node says for which endpoint and load
// balancers the proof was made.
const provenFile = hostfiles.StateDir + "/endpoint-without-first"

// withoutFirst is the end of the migration, tried out: the first API server is
// taken out of the load balancer for a moment, and the endpoint has to answer
// from every node by another one. Where somebody else has the load balancer
// nothing is taken out of it; there another API server has to be met, and the
// endpoint must not mean a node.
func withoutFirst() phases.Step {
	return phases.Step{
		ID:     withoutFirstID,
		Title:  "Prove that the endpoint answers without the first API server",
		Why:    "An endpoint that comes down to the first node, by a name on one node for instance, is found out only when that node stops.",
		On:     migrate.Once,
		Needs:  []migrate.StepID{backendID},
		ByHand: `{{template "balancer-without-first" .}}`,
		Check:  checkWithoutFirst,
		Apply:  applyWithoutFirst,
		Verify: verifyWithoutFirst,
		Undo:   undoWithoutFirst,
		Settle: 30 * time.Second, WaitsFor: "the load balancer",
	}
}

// proven is the content of provenFile for this spec.
func proven(v phases.Reader) string {
	out := "endpoint " + v.EndpointAddress() + "\n"
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		out += "load balancer " + lb.Address + "\n"
	}
	return out
}

// checkWithoutFirst looks for the proof, and for a run that was killed while the
// first API server was out of a load balancer.
func checkWithoutFirst(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	f, err := v.On(v.First().Name).ReadFile(ctx, provenFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return migrate.Finding{}, err
	}
	before := migrate.Before{"proof": string(f.Data)}
	if string(f.Data) != proven(v) {
		return phases.Need(before, "it was not tried whether %s answers without the API server of %s", v.EndpointAddress(), v.First().Name), nil
	}
	missing, err := balancers.Of(v.Spec()).First.Missing(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	if len(missing) > 0 {
		return phases.Need(before, "the API server of %s is out of %s", v.First().Name, strings.Join(missing, ", ")), nil
	}
	return phases.Done("%s has answered from every node without the API server of %s", v.EndpointAddress(), v.First().Name), nil
}

func applyWithoutFirst(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	first := balancers.Of(h.Spec()).First
	// A run that was killed may have left it out: whatever else fails here, the
	// clients are to have it.
	if err := first.PutBack(ctx, h); err != nil {
		return err
	}
	// All that can fail with the first API server in its place does so here: while
	// it is out, the others have all the clients.
	if err := balancer.VerifyEndpoint(ctx, h.Reader); err != nil {
		return err
	}
	m, err := meetingsOf(ctx, h.Reader)
	if err != nil {
		return err
	}
	err = first.Without(ctx, h, func(ctx context.Context, out bool) error { return m.anotherAnswers(ctx, h.Reader, out) })
	if err != nil {
		return err
	}
	return noteProof(ctx, h)
}

// firstTries are connections from each node, of which none may meet the first
// API server: a name with several addresses takes them in turn.
const firstTries = 4

// anotherTries are connections from each node, of which one has to meet another
// API server: with three behind the endpoint, twenty that all meet the first one
// by chance are one in 10^9.
const anotherTries = 20

// meetings are what connections to the endpoint are judged by.
type meetings struct {
	nodes []string
	first *x509.Certificate // the first API server's own
	roots *x509.CertPool
}

func meetingsOf(ctx context.Context, v phases.Reader) (m meetings, err error) {
	address, err := v.APIAddress(ctx, v.First().Name)
	if err != nil {
		return m, err
	}
	m.first, err = kube.ServedCertificate(ctx, v.On(v.First().Name).DialContext, address, nil)
	if err != nil {
		return m, fmt.Errorf("asking the API server of %s for its certificate: %w", v.First().Name, err)
	}
	ca, err := v.AdminCA(ctx)
	if err != nil {
		return m, err
	}
	m.roots = x509.NewCertPool()
	m.roots.AppendCertsFromPEM(ca)
	m.nodes, err = balancer.NodesNow(ctx, v)
	return m, err
}

// anotherAnswers opens connections to the endpoint from every node. Each must be
// answered, and never by the first API server; or, where that is not out of the
// load balancer, one of them all by another. Where it is out, waiting mends only
// an answer by it.
func (m meetings) anotherAnswers(ctx context.Context, v phases.Reader, never bool) error {
	tries := firstTries
	if !never {
		tries = anotherTries
	}
	met := make([]bool, len(m.nodes))
	err := parallel.Each(m.nodes, func(i int, node string) error {
		for range tries {
			conn, cert, err := balancer.Meet(ctx, v, node, m.roots)
			if err != nil && never {
				return migrate.Hopeless(err)
			}
			if err != nil {
				return err
			}
			defer conn.Close()
			isFirst := bytes.Equal(cert.Raw, m.first.Raw)
			if isFirst && never {
				return fmt.Errorf("from %s, %s is answered by the API server of %s, which is out of the load balancer: the name leads past it there", node, v.EndpointAddress(), v.First().Name)
			}
			if met[i] = met[i] || !isFirst; met[i] && !never {
				break
			}
		}
		return nil
	})
	if err == nil && !slices.Contains(met, true) {
		err = fmt.Errorf("no connection to %s was answered by another API server than that of %s", v.EndpointAddress(), v.First().Name)
	}
	return err
}

// noteProof writes down for what the proof was made.
func noteProof(ctx context.Context, h phases.Writer) error {
	host := h.On(h.First().Name)
	if err := hostfiles.MakeStateDir(ctx, host); err != nil {
		return err
	}
	return host.WriteFile(ctx, remote.File{Path: provenFile, Data: []byte(proven(h.Reader)), Mode: 0o600})
}

// verifyWithoutFirst wants the first API server back behind every load balancer.
func verifyWithoutFirst(ctx context.Context, v phases.Reader) error {
	f, err := checkWithoutFirst(ctx, v)
	if err != nil {
		return err
	}
	if f.Verdict != migrate.Satisfied {
		return errors.New(f.Reason)
	}
	return balancer.VerifyEndpoint(ctx, v)
}

// undoWithoutFirst puts the first API server back where a run was killed, and
// forgets the proof.
func undoWithoutFirst(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	if err := balancers.Of(h.Spec()).First.PutBack(ctx, h); err != nil {
		return err
	}
	return h.On(h.First().Name).Remove(ctx, provenFile)
}
