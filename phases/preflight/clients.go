package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases/consumers"
	"hamigrate/phases/survey"
)

// clientChecks are about those who use the API by an address of their own,
// about who is who among the nodes, and about what the plan says.
func clientChecks() []Check {
	return []Check{
		{Number: 38, Name: "APIAddressElsewhere", Title: "No program in the cluster is set to the first control-plane node's API server",
			Why:    "Network add-ons without kube-proxy, and others, have the API's address in settings of their own, which the migration does not change: they lose the API with that one machine, however many API servers there are.",
			Remedy: "after phase 1, set it to the endpoint and restart the pods that read it",
			On:     []Where{wholeCluster(1, 2, 3)}, Look: apiElsewhere},
		{Number: 39, Name: "NodeAddresses", Title: "Every node of the spec is a Node of the cluster, with an address of its own",
			Why:    "Steps log in to a node at its address and wait for the Node of its name: where the two are not one machine, the wrong one is changed.",
			Remedy: "list the workers under spec.workers, each with the name that `kubectl get nodes` shows and the address at which it is reached",
			On:     []Where{wholeCluster(1, 2, 3)}, Look: nodeAddresses},
		{Number: 40, Name: plannedName, Title: "No step of the plan is blocked",
			Why:    "A step that can't be done stops its phase, and the phases after it.",
			Remedy: "`migrate plan` shows the step with all the others",
			On:     []Where{wholeCluster(1, 2, 3)}, Look: plannedSteps, Limit: planLimit},
	}
}

// apiElsewhere names each setting. It only warns: the address goes on answering
// until its machine is gone.
func apiElsewhere(ctx context.Context, s Scene) ([]Finding, error) {
	list, err := consumers.APIElsewhere(ctx, s.Reader)
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, n := range list {
		out = append(out, warn(changeName(n, s.Spec().Endpoint.Host, s.Spec().Endpoint.Port), "%s, %s, names %s, which is %s", n.Object, n.Key, n.Host, s.First().Name))
	}
	if len(out) == 0 {
		out = append(out, fine("none of the ConfigMaps and workloads names %s", s.First().Name))
	}
	return out, nil
}

// changeName is how to change a setting.
func changeName(n kube.APIName, host string, port int) string {
	kind, name, _ := strings.Cut(n.Object, " ")
	namespace, name, _ := strings.Cut(name, "/")
	if name == "kubernetes-services-endpoint" { // Calico's: its pods read it when they start
		return fmt.Sprintf("after phase 1 `kubectl -n %s patch configmap %s --type merge -p '{\"data\":{\"KUBERNETES_SERVICE_HOST\":\"%s\",\"KUBERNETES_SERVICE_PORT\":\"%d\"}}'`, then restart what reads it when it starts: "+
			"`kubectl -n tigera-operator rollout restart deployment tigera-operator` where there is one, and the DaemonSet calico-node and the Deployments calico-typha and calico-kube-controllers in calico-system or kube-system", namespace, name, host, port)
	}
	again := "its pods restart by themselves"
	if kind == "ConfigMap" {
		again = "restart the pods that read it"
	}
	return fmt.Sprintf("after phase 1 set it to %s, port %d (`kubectl -n %s edit %s %s`, or where it is rendered from, such as Helm's values); %s", host, port, namespace, strings.ToLower(kind), name, again)
}

const plannedName = "PlannedSteps"

// planLimit is for a plan of all phases, which looks at every step on every
// host: a hundred workers on a slow line take their time.
const planLimit = 5 * time.Minute

// plannedSteps says what `migrate plan` would block, in the steps' own words.
func plannedSteps(ctx context.Context, s Scene) ([]Finding, error) {
	if s.survey.options.Plan == nil {
		return []Finding{fine("who asks here looks at the steps itself")}, nil
	}
	var numbers []int
	for p := 1; p <= 3; p++ {
		if only := s.survey.options.Phase; (only == 0 || only == p) && s.reached(p) {
			numbers = append(numbers, p)
		}
	}
	found := make([][]Finding, len(numbers))
	err := parallel.Each(numbers, func(i, p int) error {
		entries, err := s.survey.options.Plan(ctx, p)
		var step *migrate.StepError
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			err = nil // what a look that was cut says is nothing about the step
		case errors.As(err, &step):
			found[i] = []Finding{block(fmt.Sprintf("fix what the message names; `migrate plan --phase %d` looks again", p),
				"the step %s can't be looked at: %v", step.Step, step.Err).on(step.Target).only(p)}
			err = nil
		}
		for _, e := range once(entries) {
			if e.Finding.Verdict == migrate.Blocked {
				found[i] = append(found[i], block(e.Finding.Remedy, "the step %s (%s) is blocked: %s", e.Step, e.Title, e.Finding.Reason).on(e.Target).only(p))
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	out := slices.Concat(found...)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		out = append(out, warn("`migrate plan` looks at all of them, for as long as it takes", "the steps of the plan were not all looked at within %s", planLimit))
	}
	if len(out) == 0 {
		out = append(out, fine("every step is done, or can be"))
	}
	return out, nil
}

// once leaves out the steps that are blocked by what blocks one before them, in
// the same words: a setting of the old etcd blocks three steps on five hosts.
func once(entries []migrate.Entry) []migrate.Entry {
	said := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(entries), func(e migrate.Entry) bool {
		if e.Finding.Verdict != migrate.Blocked {
			return false
		}
		again := said[e.Finding.Reason]
		said[e.Finding.Reason] = true
		return again
	})
}

// toldElsewhere leaves out of the plan's blocked steps those whose reason a check
// of its own tells, with its own remedy. One that is ignored tells nothing: the
// step is blocked all the same.
func toldElsewhere(results []Result) []Result {
	told := func(step Result) bool {
		return slices.ContainsFunc(results, func(r Result) bool {
			return r.Check != plannedName && r.Severity == Blocking && !r.Ignored && strings.HasSuffix(step.Seen, ": "+r.Seen) &&
				!slices.ContainsFunc(step.Phases, func(p int) bool { return !slices.Contains(r.Phases, p) })
		})
	}
	left := false
	out := slices.DeleteFunc(slices.Clone(results), func(r Result) bool {
		is := r.Check == plannedName && r.Severity == Blocking && told(r)
		left = left || is
		return is
	})
	if left && !slices.ContainsFunc(out, func(r Result) bool { return r.Check == plannedName }) {
		i := slices.IndexFunc(results, func(r Result) bool { return r.Check == plannedName })
		r := results[i]
		r.Severity, r.Seen, r.Why, r.Remedy, r.Command, r.Ignored, r.Host = OK, "what blocks a step is told by the checks above", "", "", "", false, migrate.ClusterTarget
		out = append(out, r)
	}
	return out
}

// reached says whether all hosts of a phase answered. Where one did not, its
// login says so, and the plan would only wait for it again.
func (s Scene) reached(phase int) bool {
	return !slices.ContainsFunc(s.survey.hosts, func(t survey.Target) bool {
		for _, w := range named(loginName).On {
			if w.On == t.Role && slices.Contains(w.Phases, phase) && s.Of(t.Name) == nil {
				return true
			}
		}
		return false
	})
}
