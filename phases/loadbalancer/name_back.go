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
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
)

// kubeadm's documentation advises to make a cluster with a name as its endpoint
// which means the one control-plane node until there is a load balancer. Files
// and ConfigMaps of such a cluster name the endpoint before this phase, and this
// phase moves their readers by the name alone. So the way back leaves the files
// as they were, and asks for the name's old meaning.

// followedBefore says of a server that was recorded before a change whether it
// is the endpoint by a name that had another meaning then.
func followedBefore(v phases.Reader, server string) bool {
	return server == v.EndpointURL() && net.ParseIP(v.Spec().Endpoint.Host) == nil
}

// isBack says whether the name means on a node what it meant before: the first
// control-plane node, by its Node's addresses or those of its devices, or what the
// record says; and nothing else. An address that a load balancer has by now is not
// what it was. known is false where the record alone says so.
func (m Meaning) isBack(first string, people map[string]string, firsts []string, old nameRecord) (is, known bool) {
	known = true
	for _, a := range m.Addresses {
		itself := m.Node == first && net.ParseIP(a).IsLoopback()
		// Bridges of containers have the same address on many hosts.
		device := slices.Contains(firsts, a) && (m.Node == first || !slices.Contains(m.own, a))
		switch {
		case m.balanced[a]:
			return false, false
		case people[a] == first || itself || device:
		case old.meant(m.Node, a):
			known = false
		default:
			return false, false
		}
	}
	return len(m.Addresses) > 0, known
}

// otherMeanings are those of the nodes on which the endpoint's name does not mean
// what it meant before.
func otherMeanings(ctx context.Context, v phases.Reader, nodes []string, old nameRecord) ([]Meaning, error) {
	people, err := balancer.NodesAt(ctx, v)
	if err != nil {
		return nil, err
	}
	first, asked := v.First().Name, slices.Clone(nodes)
	if !slices.Contains(asked, first) { // it knows what addresses it has
		asked = append(asked, first)
	}
	all, err := Meanings(ctx, v, asked)
	if err != nil {
		return nil, err
	}
	firsts := all[slices.Index(asked, first)].own
	var out []Meaning
	for _, m := range all[:len(nodes)] {
		is, known := m.isBack(first, people, firsts, old)
		if is && !known {
			if m.through, err = stillThrough(ctx, v, m.Node); err != nil {
				return nil, err
			}
		}
		if !is || m.through != "" {
			m.back = m.previously(first, people, old)
			out = append(out, m)
		}
	}
	return out, nil
}

// followsOldName says whether the endpoint's name means on the target what the
// cluster's record says that it meant before: any address of the first node, or a
// translated one.
func followsOldName(ctx context.Context, v phases.Reader) (bool, error) {
	old, err := readName(ctx, v)
	if err != nil || len(old.Named) == 0 {
		return false, err
	}
	other, err := otherMeanings(ctx, v, []string{v.Target()}, old)
	return len(other) == 0, err
}

// stillThrough says what is wrong with an address that only the record knows:
// somebody may have moved the address to the load balancer, instead of the name.
// "" where connections to it are answered and no load balancer carries them.
func stillThrough(ctx context.Context, v phases.Reader, node string) (string, error) {
	release, err := v.Alone(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	verdict, err := balancer.CarriedFrom(ctx, v, node)
	if err != nil {
		return "", err
	}
	if unreached := (balancer.UnreachedError{}); errors.As(verdict, &unreached) {
		return "and does not lead to the API: " + unreached.Error(), nil
	}
	return countSays(verdict), ctx.Err()
}

const throughBalancer = "and connections to it go through a load balancer"

// countSays is what stillThrough makes of a count. One that could not be made says
// nothing: the load balancer, which may carry them, is not taken away by it.
func countSays(err error) string {
	switch {
	case err == nil:
		return throughBalancer
	case errors.As(err, new(balancer.NotRisenError)):
		return ""
	}
	return "and it is not known whether a load balancer carries connections to it: " + err.Error()
}

// formerly is the address that the name is to have again on a node by the record,
// "" where it says none: one of IPv4, if it can be, that is neither a load
// balancer's by now nor another node's.
func (m Meaning) previously(first string, people map[string]string, old nameRecord) string {
	usable := slices.DeleteFunc(slices.Clone(old.Meant[m.Node]), func(a string) bool {
		return m.balanced[a] || people[a] != "" && people[a] != first
	})
	if i := slices.IndexFunc(usable, func(a string) bool { return net.ParseIP(a).To4() != nil }); i >= 0 {
		return usable[i]
	}
	return strings.Join(usable[:min(1, len(usable))], "")
}

// nameEvery is how often the nodes that still have another meaning are asked: a
// person or DNS takes minutes.
const nameEvery = 5 * time.Second

// awaitName waits until look finds no node any more. It asks those that are left
// again, and at the end all of them once more.
func awaitName(ctx context.Context, h phases.Writer, nodes []string, look func(ctx context.Context, nodes []string) ([]Meaning, error), describe func([]Meaning) string) (said string, err error) {
	left, asked := nodes, time.Time{}
	err = phases.AwaitOrStop(ctx, h.Reader, h.AskWait(), func(ctx context.Context) error {
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
func nameBack(ctx context.Context, h phases.Writer, before migrate.Before) error {
	nodes, err := balancer.NodesNow(ctx, h.Reader)
	if err != nil {
		return err
	}
	old, err := oldName(ctx, h.Reader, before)
	if err != nil {
		return err
	}
	found, err := otherMeanings(ctx, h.Reader, nodes, old)
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
	var to []string // what the nodes are to mean by it
	for i := range found {
		if found[i].back == "" {
			found[i].back = address
		}
		if a := found[i].back; !slices.Contains(to, a) && !net.ParseIP(a).IsLoopback() {
			to = append(to, a)
		}
	}
	if len(to) > 0 {
		address = strings.Join(to, ", ")
	}
	var ask strings.Builder
	fmt.Fprintf(&ask, "The cluster named %s before phase 1, and goes on naming it. Let %s mean %s (%s) again, in DNS, or on each node with the line below. This waits, at most %s, until it does.",
		h.EndpointURL(), name, first, address, h.AskWait())
	for _, m := range found {
		fmt.Fprintf(&ask, "\n  on %s: %s", m.Node, m.fix(name, m.back))
	}
	h.Ask(ask.String())
	said, err := awaitName(ctx, h, nodes,
		func(ctx context.Context, nodes []string) ([]Meaning, error) {
			return otherMeanings(ctx, h.Reader, nodes, old)
		},
		func(list []Meaning) string {
			var out []string
			for _, m := range list {
				text := fmt.Sprintf("on %s %s means %s", m.Node, name, strings.Join(m.Addresses, ", "))
				if m.through != "" {
					text += ", " + m.through
				}
				out = append(out, text)
			}
			return strings.Join(out, "; ")
		})
	if err != nil && ctx.Err() == nil {
		return show.Errorf(err, "waiting for %s to mean %s (%s) again (%s); change it, --wait-backend waits longer: %v\n  migrate rollback --phase 1", name, first, address, said, err)
	}
	return err
}
