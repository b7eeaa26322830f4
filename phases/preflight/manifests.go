package preflight

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"hamigrate/migrate/kube"
	"hamigrate/phases/controlplane"
)

// manifestChecks are about what kubeadm will make of kubeadm-config on a joining
// node. They matter to phase 3; an operator wants to know before the first
// change, so they warn for the phases before it.
func manifestChecks() []Check {
	shared := &lookingAhead{looked: make(chan struct{})}
	return []Check{
		{Number: 31, Name: "JoinedManifests", Title: "Joined nodes will run what the first one runs",
			Why:    "A join makes API server, controller-manager and scheduler from kubeadm-config alone; what was edited in the first node's manifests would be missing, and one request or one leader in three would behave otherwise.",
			Remedy: "`migrate plan --phase 3` shows what will be written to kubeadm-config",
			On:     []Where{wholeCluster(1, 2, 3)}, Look: shared.joined},
		{Number: 32, Name: "SharedFlags", Title: "Nothing that is one node's own is given to all, and leaders are elected",
			Why:    "An address of one node keeps the API server of another from starting, and without leader election every controller-manager and every scheduler would act at the same time.",
			Remedy: "take the value out of kubeadm-config and of the first node's manifests, as a change of its own",
			On:     []Where{wholeCluster(1, 2, 3)}, Look: shared.shared},
	}
}

// lookingAhead is one look for both checks.
type lookingAhead struct {
	first   atomic.Bool
	looked  chan struct{} // closed when the two below are there
	outlook controlplane.Outlook
	err     error
}

func (l *lookingAhead) look(ctx context.Context, s Scene) (controlplane.Outlook, error) {
	if l.first.CompareAndSwap(false, true) {
		defer close(l.looked)
		l.outlook, l.err = controlplane.LookAhead(ctx, s.Reader)
		return l.outlook, l.err
	}
	select {
	case <-l.looked:
		return l.outlook, l.err
	case <-ctx.Done():
		return controlplane.Outlook{}, context.Cause(ctx)
	}
}

// early says for which phase something is a warning yet: the phase that is
// asked for, when it comes before the third one.
func early(s Scene) (phase int, is bool) {
	p := s.survey.options.Phase
	return p, p == 1 || p == 2
}

// obstructs is a finding that blocks phase 3, and warns before it.
func obstructs(s Scene, o controlplane.Obstacle) Finding {
	if phase, is := early(s); is {
		return warn(o.Remedy, "phase 3 will be blocked: %s", o.Seen).on(o.Node).only(phase)
	}
	return block(o.Remedy, "%s", o.Seen).on(o.Node).only(3)
}

// joined says what phase 3 will write into kubeadm-config, and what keeps it
// from beginning.
func (l *lookingAhead) joined(ctx context.Context, s Scene) ([]Finding, error) {
	o, err := l.look(ctx, s)
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, obstacle := range o.Obstacles {
		out = append(out, obstructs(s, obstacle))
	}
	if len(o.Edits) > 0 {
		var what []string
		for _, w := range o.Edits {
			what = append(what, w.Sentence)
		}
		f := warn("nothing, if that is as it shall be: `migrate plan --phase 3` shows the lines",
			"phase 3 will write into kubeadm-config what runs on %s and is missing there: %s", s.First().Name, strings.Join(what, ", "))
		if phase, is := early(s); is {
			out = append(out, f.only(phase))
		} else {
			out = append(out, f.only(3))
		}
	}
	for _, note := range o.Notes {
		out = append(out, warn("nothing: the pods do the same with it", "it will differ on joined nodes: %s", note).only(3))
	}
	switch {
	case o.Joined:
		out = append(out, fine("every node has joined: `migrate verify` compares them"))
	case len(out) == 0:
		out = append(out, fine("what kubeadm makes of kubeadm-config is what runs on %s", s.First().Name))
	}
	return out, nil
}

// shared says what must not be shared.
func (l *lookingAhead) shared(ctx context.Context, s Scene) ([]Finding, error) {
	o, err := l.look(ctx, s)
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, obstacle := range o.Shared {
		out = append(out, obstructs(s, obstacle))
	}
	f, err := listener(ctx, s)
	if err != nil {
		return nil, err
	}
	out = slices.Concat(out, f)
	if len(out) == 0 {
		out = append(out, fine("no flag of one node is given to another, and leaders are elected"))
	}
	return out, nil
}

// listener: this tool, the load balancer and the kubelet's probes reach the API
// server at the node's address, so it has to listen there.
func listener(ctx context.Context, s Scene) ([]Finding, error) {
	flags, err := apiFlags(ctx, s)
	if err != nil {
		return nil, err
	}
	bind, _ := flags.Get("bind-address")
	ip, own := net.ParseIP(bind), net.ParseIP(s.First().Address)
	switch {
	case flags.ListensEverywhere():
		return nil, nil
	case ip.Equal(own) && s.survey.options.InPlace:
		return nil, nil
	case ip.Equal(own):
		return []Finding{block("restart the API server in place with `--strategy in-place`",
			"the API server listens at --bind-address=%s alone, and not on 127.0.0.1 as well, where it is watched while a second one serves", bind).on(s.First().Name).only(2)}, nil
	}
	return []Finding{block(fmt.Sprintf("let it listen at %s, in %s", s.First().Address, kube.APIServer.ManifestPath()),
		"the API server listens at --bind-address=%s alone, and not at %s, where the spec has it", bind, s.First().Address).on(s.First().Name)}, nil
}
