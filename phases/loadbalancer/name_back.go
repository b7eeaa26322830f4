package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/phases"
)

// kubeadm's documentation advises to make a cluster with a name as its endpoint
// which means the one control-plane node until there is a load balancer. Files
// and ConfigMaps of such a cluster name the endpoint before this phase, and this
// phase moves their readers by the name alone. So the way back leaves the files
// as they were, and asks for the name's old meaning.

// followedBefore says of a server that was recorded before a change whether it
// is the endpoint by a name that had another meaning then.
func followedBefore(v phases.View, server string) bool {
	return server == v.EndpointURL() && net.ParseIP(v.Spec().Endpoint.Host) == nil
}

// namedKey is in the pre-image of the load balancer's configuration: who named
// the endpoint when its name meant no load balancer.
const namedKey = "named"

// noteNamed writes them down, as filesNaming lists them, separated by ", ".
func noteNamed(ctx context.Context, v phases.View, before migrate.Before) error {
	if !followedBefore(v, v.EndpointURL()) {
		return nil
	}
	wrong, err := wrongMeanings(ctx, v)
	if err != nil || len(wrong) == 0 {
		return err
	}
	named, err := namesEndpoint(ctx, v)
	if err != nil {
		return err
	}
	workers, err := v.Workers(ctx)
	if err != nil {
		return err
	}
	each := make([][]string, len(workers))
	err = phases.ForEach(workers, func(i int, w cluster.Host) (err error) {
		each[i], err = filesNaming(ctx, v, w.Name, kubeletKubeconfigs)
		return err
	})
	named = append(named, slices.Concat(each...)...)
	// A file on a node where the name means the load balancer already is not
	// one that followed the old meaning.
	means := map[string]bool{}
	for _, m := range wrong {
		means[m.Node] = true
	}
	named = slices.DeleteFunc(named, func(what string) bool {
		node, _, isFile := strings.Cut(what, ":")
		return isFile && !means[node]
	})
	if len(named) > 0 {
		before[namedKey] = strings.Join(named, ", ")
	}
	return err
}

// meansFirst says whether the name means the first control-plane node there, and
// nothing else.
func (m Meaning) meansFirst(v phases.View, people map[string]string) bool {
	first := v.First().Name
	for _, a := range m.Addresses {
		itself := m.Node == first && (net.ParseIP(a).IsLoopback() || slices.Contains(m.own, a))
		if people[a] != first && !itself {
			return false
		}
	}
	return len(m.Addresses) > 0
}

// otherMeanings are those of the nodes on which the endpoint's name does not mean
// the first control-plane node.
func otherMeanings(ctx context.Context, v phases.View, nodes []string) ([]Meaning, error) {
	people, err := nodesAt(ctx, v)
	if err != nil {
		return nil, err
	}
	all, err := Meanings(ctx, v, nodes)
	return slices.DeleteFunc(all, func(m Meaning) bool { return m.meansFirst(v, people) }), err
}

// nameEvery is how often the nodes that still have another meaning are asked: a
// person or DNS takes minutes.
const nameEvery = 5 * time.Second

// awaitName waits until look finds no node any more. It asks those that are left
// again, and at the end all of them once more.
func awaitName(ctx context.Context, h phases.Hands, nodes []string, look func(ctx context.Context, nodes []string) ([]Meaning, error), describe func([]Meaning) string) (said string, err error) {
	left, asked := nodes, time.Time{}
	err = phases.AwaitOrStop(ctx, h.View, h.AskWait(), func(ctx context.Context) error {
		if said != "" && time.Since(asked) < nameEvery {
			return errors.New(said)
		}
		found, err := look(ctx, left)
		if err == nil && len(found) == 0 && len(left) < len(nodes) {
			found, err = look(ctx, nodes)
		}
		if err != nil {
			return err
		}
		asked, left = time.Now(), nodesOf(found)
		if len(found) == 0 {
			return nil
		}
		said = describe(found)
		return errors.New(said)
	})
	return said, err
}

func nodesOf(list []Meaning) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.Node)
	}
	return out
}

// nameBack asks for the old meaning of the endpoint's name, and waits for it.
// The first API server answers by this name all the time, so clients notice
// nothing. Whoever asks first in a way back waits; the others find it so.
func nameBack(ctx context.Context, h phases.Hands) error {
	nodes, err := NodesNow(ctx, h.View)
	if err != nil {
		return err
	}
	found, err := otherMeanings(ctx, h.View, nodes)
	if err != nil || len(found) == 0 {
		return err
	}
	address, err := h.APIAddress(ctx, h.First().Name)
	if err != nil {
		return err
	}
	address, _, err = net.SplitHostPort(address)
	if err != nil {
		return err
	}
	name, first := h.Spec().Endpoint.Host, h.First().Name
	var ask strings.Builder
	fmt.Fprintf(&ask, "The cluster named %s before phase 1, and goes on naming it. Let %s mean %s (%s) again, in DNS, or on each node with the line below. This waits, at most %s, until it does.",
		h.EndpointURL(), name, first, address, h.AskWait())
	for _, m := range found {
		fmt.Fprintf(&ask, "\n  on %s: %s", m.Node, m.fix(name, address))
	}
	h.Ask(ask.String())
	said, err := awaitName(ctx, h, nodes,
		func(ctx context.Context, nodes []string) ([]Meaning, error) { return otherMeanings(ctx, h.View, nodes) },
		func(list []Meaning) string {
			var out []string
			for _, m := range list {
				out = append(out, fmt.Sprintf("on %s %s means %s", m.Node, name, strings.Join(m.Addresses, ", ")))
			}
			return strings.Join(out, "; ")
		})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("waiting for %s to mean %s (%s) again (%s); change it, --wait-backend waits longer: %w\n  migrate rollback --phase 1", name, first, address, said, err)
	}
	return err
}
