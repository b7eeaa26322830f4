package external

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/etcd"
	"hamigrate/phases"
	"hamigrate/phases/etcd/membership"
)

// The way back of the old member is the way of any new one: it joins as a
// learner with an empty data folder, gets all that was written since, and is
// promoted. What it held when it was removed is never started again. Three
// steps go that way, each up to its stage; each looks for itself how far it is.
//
// Its own manifest, from before, has no --initial-cluster-state, or one that
// fits the cluster of its birth: on an empty folder it would found a new
// cluster, which has the old one's ID, because that is made of URLs and token.
// So the kubelet never has it while the folder is, or may become, empty. The
// member joins with a manifest made for that, and the original is put in its
// place when it runs and holds its data.

// stage is how far the old member is to be brought.
type stage int

const (
	learns   stage = iota // it runs as a learner and has caught up
	original              // and with the previous manifest
	votes                 // and is a voter
)

// learnerJoins bounds the wait for all data, as for the members on the etcd
// hosts; kubeletStarts that for a process with other arguments. The kubelet
// stops the old process in 30 s (terminationGracePeriodSeconds), and doubles
// its pauses between two failed starts up to 5 minutes.
const (
	learnerJoins  = 10 * time.Minute
	kubeletStarts = 6 * time.Minute
)

// rejoin brings the old member to a stage. Until it is a voter its data is
// disposable, and clients are served by the new members alone.
func rejoin(ctx context.Context, h phases.Writer, to stage) error {
	if err := newMembersCarry(ctx, h.Reader); err != nil {
		return fmt.Errorf("the old member on %s is left as it is: %w", h.First().Name, err)
	}
	members, _, err := membership.List(ctx, h.Reader)
	if err != nil {
		return err
	}
	if old, ok := membership.OldMember(members, h.Reader); !ok || old.Learner {
		if err := joinAsLearner(ctx, h); err != nil {
			return err
		}
	}
	if to == learns {
		return nil
	}
	if err := originalBack(ctx, h); err != nil {
		return err
	}
	if to == original {
		return nil
	}
	return promoteOld(ctx, h)
}

// newMembersCarry wants the new members to be voters that answer, and the API
// server to use none but them: the old one is restarted on its way.
func newMembersCarry(ctx context.Context, v phases.Reader) error {
	members, e, err := membership.List(ctx, v)
	if err != nil {
		return err
	}
	var uses []string
	for _, h := range v.Spec().Etcd.Hosts {
		m, ok := membership.MemberOn(members, h)
		if !ok || m.Learner || !slices.Contains(e.Hosts(), h.Name) {
			return fmt.Errorf("%s is not a voter that answers: %s", h.Name, membership.Describe(members))
		}
		if err := membership.AnswersAs(ctx, e, h.Name, m); err != nil {
			return err
		}
		uses = append(uses, membership.ClientURL(h))
	}
	p, running, err := v.APIServer(ctx, v.First().Name)
	switch {
	case err != nil:
		return err
	case !running:
		return fmt.Errorf("no API server runs on %s", v.First().Name)
	}
	servers, _ := p.Flags.Get("etcd-servers")
	for server := range strings.SplitSeq(servers, ",") {
		if !slices.Contains(uses, server) {
			return fmt.Errorf("the API server on %s runs with --etcd-servers=%s, and is to use the new members alone until the old one is a voter", v.First().Name, servers)
		}
	}
	return nil
}

// joinAsLearner goes on from wherever an attempt before was cut.
func joinAsLearner(ctx context.Context, h phases.Writer) error {
	members, _, err := membership.List(ctx, h.Reader)
	if err != nil {
		return err
	}
	old, listed := membership.OldMember(members, h.Reader)
	if listed && !slices.Equal(old.PeerURLs, []string{membership.PeerURL(h.First())}) {
		return fmt.Errorf("another learner is in the list, promote or remove it first: %s", membership.Describe(members))
	}
	data, err := hasOldData(ctx, h.Reader)
	if err != nil {
		return err
	}
	// A member that has lost what it acknowledged can't go on under its ID.
	if listed && old.Name != "" && !data {
		if err := membership.RemoveLearner(ctx, h, membership.PeerURL(h.First())); err != nil {
			return err
		}
		listed = false
	}
	starts, err := joinsAlready(ctx, h.Reader, members)
	if err != nil {
		return err
	}
	switch {
	case !listed, old.Name == "" && !starts:
		if err := clearOld(ctx, h); err != nil {
			return err
		}
		if err := membership.AddLearner(ctx, h, h.First()); err != nil {
			return err
		}
		if err := writeJoining(ctx, h); err != nil {
			return err
		}
	default:
		if _, there, err := oldManifest(ctx, h.Reader); err != nil {
			return err
		} else if there {
			break
		}
		if err := writeJoining(ctx, h); err != nil {
			return err
		}
	}
	err = phases.Await(ctx, h.Reader, learnerJoins, func(ctx context.Context) error { return oldCaughtUp(ctx, h.Reader) })
	if err != nil {
		return fmt.Errorf("waiting for the old member on %s, which joins as a learner: %w", h.First().Name, err)
	}
	return nil
}

// oldCaughtUp wants the old member's process to be what its manifest says, and
// its member to be the one of the list, with all data.
func oldCaughtUp(ctx context.Context, v phases.Reader) error {
	if err := oldRunsItsManifest(ctx, v); err != nil {
		return err
	}
	members, e, err := membership.List(ctx, v)
	if err != nil {
		return err
	}
	old, ok := membership.OldMember(members, v)
	if !ok {
		return fmt.Errorf("%s has no member: %s", v.First().Name, membership.Describe(members))
	}
	return membership.CaughtUp(ctx, e, v.First().Name, old)
}

// promoteOld gives it its vote, and proves that it holds what the others hold
// before anything depends on it.
func promoteOld(ctx context.Context, h phases.Writer) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	err = membership.Promote(ctx, h, h.First().Name, func(members []etcd.Member) (etcd.Member, bool) { return membership.OldMember(members, h.Reader) })
	if err != nil {
		return err
	}
	err = phases.Await(ctx, h.Reader, 2*time.Minute, func(ctx context.Context) error {
		if err := membership.OldMemberServes(ctx, h.Reader); err != nil {
			return err
		}
		if s, err := e.Status(ctx, h.First().Name); err != nil || s.Learner {
			return errors.Join(err, errors.New("it does not know yet that it is a voter"))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the old member on %s to be a voter: %w", h.First().Name, err)
	}
	err = membership.SameHistory(ctx, &e.Reader)
	if errors.Is(err, membership.ErrCompacted) {
		err = membership.SameHistory(ctx, &e.Reader)
	}
	return err
}

func oldListed(ctx context.Context, v phases.Reader) (bool, error) {
	members, _, err := membership.List(ctx, v)
	_, ok := membership.OldMember(members, v)
	return ok, err
}
