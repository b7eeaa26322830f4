package external

import (
	"context"
	"fmt"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
	"hamigrate/phases/consumers"
	"hamigrate/phases/etcd/membership"
)

// removeMember takes the old member out of the list. The member goes first
// and its process after: stopping the process first would leave a quorum of
// three among three of four.
func removeMember() phases.Step {
	return phases.Step{
		ID:     removeMemberID,
		Title:  "Remove the old member",
		Why:    "It is the last thing that ties etcd to the first control-plane node.",
		On:     migrate.FirstControlPlane,
		Needs:  []migrate.StepID{repointID, kubeadmConfigID},
		ByHand: "```\n$ETCDCTL member remove <ID of {{.First.Name}}>    # through a new member\n```\n",
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			members, _, err := membership.List(ctx, v)
			if err != nil {
				return migrate.Finding{}, err
			}
			old, ok := membership.OldMember(members, v)
			if !ok {
				return phases.Done("the members are %s", membership.Describe(members)), nil
			}
			f := phases.Need(migrate.Before{"members": membership.Describe(members), "id": fmt.Sprintf("%x", old.ID), "name": old.Name},
				"%s is a member", v.Target())
			f.Changes = []migrate.Change{{Object: "etcd: members", Before: membership.Lines(membership.Describe(membership.WithHosts(members, v))), After: membership.Lines(membership.Describe(membership.Without(membership.WithHosts(members, v), old.ID)))}}
			f.Reason += othersOfOld(ctx, v)
			return f, nil
		},
		Apply:  applyRemoveMember,
		Verify: verifyRemoveMember,
		Undo:   undoRemoveMember,
		Settle: time.Minute, WaitsFor: "etcd",
	}
}

// applyRemoveMember never removes a member that an API server depends on.
func applyRemoveMember(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	members, err := e.Members(ctx)
	if err != nil {
		return err
	}
	old, ok := membership.OldMember(members, h.Reader)
	if !ok {
		return nil
	}
	if err := membersReady(ctx, h.Reader); err != nil {
		return err
	}
	// The timer would put back a manifest that needs this member.
	if err := apiserver.Readyz(ctx, h.Reader, h.Target()); err != nil {
		return err
	}
	if err := apiserver.DisarmWatchdog(ctx, h.On(h.Target())); err != nil {
		return err
	}
	if err := runningServers(ctx, h.Reader, etcdServers(h.Reader)); err != nil {
		return err
	}
	host, s, err := membership.Voter(ctx, &e.Reader)
	if err != nil {
		return err
	}
	if s.Leader == old.ID {
		return fmt.Errorf("the old member has become the leader again: run once more")
	}
	// The call is answered by a member that stays.
	if host == h.First().Name {
		host = h.Spec().Etcd.Hosts[0].Name
	}
	return membership.Change(ctx, h.Access(), func(ctx context.Context) error {
		members, err := e.Members(ctx)
		if err != nil {
			return err
		}
		if _, ok := membership.OldMember(members, h.Reader); !ok {
			return nil
		}
		return e.Remove(ctx, host, old.ID)
	})
}

// verifyRemoveMember asks every member: one that has not seen the removal
// would still count the old one for its quorum.
func verifyRemoveMember(ctx context.Context, v phases.Reader) error {
	members, e, err := membership.List(ctx, v)
	if err != nil {
		return err
	}
	if _, ok := membership.OldMember(members, v); ok {
		return fmt.Errorf("the old member is still in the list: %s", membership.Describe(members))
	}
	for _, h := range v.Spec().Etcd.Hosts {
		if m, ok := membership.MemberOn(members, h); !ok || m.Learner {
			return fmt.Errorf("%s is not a voter: %s", h.Name, membership.Describe(members))
		}
		if _, err := e.Status(ctx, h.Name); err != nil {
			return err
		}
	}
	cfg, err := v.AdminConfig(ctx)
	if err != nil {
		return err
	}
	return kube.Readyz(ctx, cfg)
}

// namedAtMost bounds how many of the others a sentence names.
const namedAtMost = 8

// othersOfOld says who else is seen to use the old member, and what there is
// for them afterwards. They are changed by nobody here; that they are in the
// plan and in the report is all that can be done. It is no Change: those of a
// saved plan are compared with what is true later, and what others do with
// their objects must not stop a run.
func othersOfOld(ctx context.Context, v phases.Reader) string {
	old, running, err := v.OldEtcd(ctx)
	if err != nil || !running {
		return ""
	}
	var users []string
	for _, u := range etcdflags.ReachableListeners(old.Flags, v.First().Address) {
		users = append(users, u+" (metrics)")
	}
	use, err := consumers.EtcdClients(ctx, v, consumers.EtcdLimit)
	if err != nil {
		use.Unseen = []string{fmt.Sprintf("anything: %v", err)}
	}
	for _, c := range use.Clients {
		if !c.Passing && !c.Ready {
			users = append(users, c.What)
		}
	}
	text := ""
	if len(users) > 0 {
		more := ""
		if n := len(users) - namedAtMost; n > 0 {
			users, more = users[:namedAtMost], fmt.Sprintf("; %d more, which `migrate audit` lists", n)
		}
		clients, metrics := consumers.EtcdClientsInstead(v, old.Flags)
		for i, u := range metrics {
			metrics[i] = u + " (metrics)"
		}
		text = fmt.Sprintf("; others use it, and are yours to change: %s%s. From then on there are %s", strings.Join(users, "; "), more, strings.Join(append(metrics, clients...), ", "))
	}
	if len(use.Unseen) > 0 {
		text += "; who else uses it was not looked at in " + strings.Join(use.Unseen, "; ")
	}
	return text
}

// undoRemoveMember is the whole way: the old member is a voter again.
func undoRemoveMember(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	return rejoin(ctx, h, votes)
}
