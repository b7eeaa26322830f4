package loadbalancer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
	"hamigrate/phases/balancers"
)

// nameFile on the first node is the record of who named the endpoint before the
// first load balancer was configured. One for the cluster: by the time that a
// second load balancer is looked at, the name may mean the first one, and what was
// before can't be seen any more.
const nameFile = hostfiles.StateDir + "/endpoint-name.json"

// nameRecord is what named the endpoint when its name meant no load balancer, and
// what the name meant.
type nameRecord struct {
	Endpoint string              `json:"endpoint"`
	Named    []string            `json:"named"`           // as namesEndpoint and filesNaming list them
	Meant    map[string][]string `json:"meant,omitempty"` // by node, those that were no load balancer's
}

// The keys of a record in the pre-image of a load balancer's configuration.
// Journals of earlier versions have no meantKey.
const (
	namedKey = "named" // separated by ", "
	meantKey = "meant" // JSON
)

// into writes a record into a pre-image.
func (r nameRecord) into(before migrate.Before) {
	if len(r.Named) == 0 {
		return
	}
	before[namedKey] = strings.Join(r.Named, ", ")
	if text, err := json.Marshal(r.Meant); err == nil && len(r.Meant) > 0 {
		before[meantKey] = string(text)
	}
}

// oldName is the record of the cluster and that of a pre-image together: the
// journal may be of an earlier version, and the file goes before the last load
// balancer is recorded as undone.
func oldName(ctx context.Context, v phases.Reader, before migrate.Before) (nameRecord, error) {
	r, err := readName(ctx, v)
	if err != nil {
		return nameRecord{}, err
	}
	if before[namedKey] != "" {
		r.Named = append(r.Named, strings.Split(before[namedKey], ", ")...)
	}
	if before[meantKey] == "" {
		return r, nil
	}
	var meant map[string][]string
	if err := json.Unmarshal([]byte(before[meantKey]), &meant); err != nil {
		return nameRecord{}, fmt.Errorf("reading what %s meant from the journal: %w", v.Spec().Endpoint.Host, err)
	}
	if r.Meant == nil {
		r.Meant = map[string][]string{}
	}
	for node, list := range meant {
		r.Meant[node] = append(r.Meant[node], list...)
	}
	return r, nil
}

// readName reads the cluster's record; one of another endpoint is none.
func readName(ctx context.Context, v phases.Reader) (nameRecord, error) {
	if !followedBefore(v, v.EndpointURL()) {
		return nameRecord{}, nil
	}
	f, err := v.On(v.First().Name).ReadFile(ctx, nameFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nameRecord{}, nil
	}
	if err != nil {
		return nameRecord{}, err
	}
	var r nameRecord
	if err := json.Unmarshal(f.Data, &r); err != nil {
		return nameRecord{}, fmt.Errorf("reading %s on %s: %w", nameFile, v.First().Name, err)
	}
	if r.Endpoint != v.EndpointAddress() {
		return nameRecord{}, nil
	}
	return r, nil
}

// noteNamed writes the cluster's record into the pre-image, or, before there is
// one, what can be seen.
func noteNamed(ctx context.Context, v phases.Reader, before migrate.Before) error {
	if !followedBefore(v, v.EndpointURL()) {
		return nil
	}
	r, err := readName(ctx, v)
	if err == nil && len(r.Named) == 0 {
		r, err = seeName(ctx, v)
	}
	if err != nil {
		return err
	}
	r.into(before)
	return nil
}

// seeName looks at who names the endpoint while its name means no load balancer.
func seeName(ctx context.Context, v phases.Reader) (nameRecord, error) {
	meant, err := meantNow(ctx, v)
	if err != nil || len(meant) == 0 {
		return nameRecord{}, err
	}
	named, err := namesEndpoint(ctx, v)
	if err != nil {
		return nameRecord{}, err
	}
	workers, err := v.Workers(ctx)
	if err != nil {
		return nameRecord{}, err
	}
	each := make([][]string, len(workers))
	err = parallel.Each(workers, func(i int, w cluster.Host) (err error) {
		each[i], err = filesNaming(ctx, v, w.Name, kubeletKubeconfigs)
		return err
	})
	named = append(named, slices.Concat(each...)...)
	// A file on a node where the name means the load balancer already is not
	// one that followed the old meaning.
	named = slices.DeleteFunc(named, func(what string) bool {
		node, _, isFile := strings.Cut(what, ":")
		_, other := meant[node]
		return isFile && !other
	})
	return nameRecord{v.EndpointAddress(), named, meant}, err
}

// meantNow are the nodes on which the name means something else than the load
// balancer, with the addresses. An address that nobody in the spec has may be a
// translated one of the first node; or of a load balancer, once one is configured.
func meantNow(ctx context.Context, v phases.Reader) (map[string][]string, error) {
	nodes, err := balancer.NodesNow(ctx, v)
	if err != nil {
		return nil, err
	}
	all, err := Meanings(ctx, v, nodes)
	if err != nil {
		return nil, err
	}
	doubtful := func(m Meaning) bool { return m.Wrong == "" && len(m.strays()) > 0 }
	begun := false
	if slices.ContainsFunc(all, doubtful) {
		if begun, err = balancers.Of(v.Spec()).Begun(ctx, v); err != nil {
			return nil, err
		}
	}
	out := map[string][]string{}
	for _, m := range all {
		if m.Wrong != "" || doubtful(m) && !begun {
			out[m.Node] = m.strays()
		}
	}
	return out, nil
}

// keepName writes the record of a pre-image to the first node, for the other load
// balancers. One that is there stays: it is of before.
func keepName(ctx context.Context, h phases.Writer, before migrate.Before) error {
	if before[namedKey] == "" {
		return nil
	}
	have, err := readName(ctx, h.Reader)
	if err != nil || len(have.Named) > 0 {
		return err
	}
	r, err := oldName(ctx, h.Reader, before)
	if err != nil {
		return err
	}
	r.Endpoint = h.EndpointAddress()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	first := h.On(h.First().Name)
	if err := hostfiles.MakeStateDir(ctx, first); err != nil {
		return err
	}
	return first.WriteFile(ctx, remote.File{Path: nameFile, Data: append(text, '\n'), Mode: 0o600})
}

// forgetName removes the record when no load balancer's host has our file. One
// that does not answer may have it: then the record stays.
func forgetName(ctx context.Context, h phases.Writer) error {
	first := h.On(h.First().Name)
	if _, err := first.ReadFile(ctx, nameFile); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	begun, err := balancers.Of(h.Spec()).Begun(ctx, h.Reader)
	if err != nil || begun {
		return err
	}
	return first.Remove(ctx, nameFile)
}

// strays are those of the addresses that no load balancer has.
func (m Meaning) strays() []string {
	return slices.DeleteFunc(slices.Clone(m.Addresses), func(a string) bool { return m.balanced[a] })
}

// meant says whether an address is one that the name had on a node before. What
// it had on another node counts, unless that is the node itself.
func (r nameRecord) meant(node, address string) bool {
	if slices.Contains(r.Meant[node], address) {
		return true
	}
	for _, list := range r.Meant {
		if !net.ParseIP(address).IsLoopback() && slices.Contains(list, address) {
			return true
		}
	}
	return false
}
