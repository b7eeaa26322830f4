package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hamigrate/migrate/etcd"
	"hamigrate/phases"
	"hamigrate/phases/apiserver"
)

// LeaderToOldMember hands the leadership back, as it was taken; done twice it
// is done once. On the way back the members' own steps need it, too: a leader
// that is removed costs an election, and one may have been elected among the
// new members at any time.
func LeaderToOldMember(ctx context.Context, h phases.Writer) error {
	if err := OldMemberServes(ctx, h.Reader); err != nil {
		return fmt.Errorf("the leader can't be moved to the old member: %w", err)
	}
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	members, err := e.Members(ctx)
	if err != nil {
		return err
	}
	old, _ := OldMember(members, h.Reader)
	host, s, err := Voter(ctx, &e.Reader)
	if err != nil || s.Leader == old.ID {
		return err
	}
	return HandOver(ctx, h, e, host, old.ID)
}

// HandOver is handOverNow while the API server stands still.
func HandOver(ctx context.Context, h phases.Writer, e *etcd.Cluster, host string, to uint64) error {
	release, err := apiserver.Pause(ctx, h, h.First().Name)
	if err != nil {
		return err
	}
	err = handOverNow(ctx, h, e, host, to)
	letGo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, release(letGo))
}

// handOverNow moves the leader once nothing more is proposed to it.
func handOverNow(ctx context.Context, h phases.Writer, e *etcd.Cluster, host string, to uint64) error {
	if err := untilQuiet(ctx, h, e, host); err != nil {
		return err
	}
	return e.MoveLeader(ctx, host, to)
}

// quietLooks bounds how often the log is looked at until nothing is added to
// it: the API server is held for a second and no longer. Others than the API
// server may write, too.
const quietLooks = 10

// untilQuiet waits until what was under way when the API server was held has
// found its way into the log.
func untilQuiet(ctx context.Context, h phases.Writer, e *etcd.Cluster, host string) error {
	defer h.Access().Waiting()()
	var last uint64
	for range quietLooks {
		s, err := e.Status(ctx, host)
		if err != nil {
			return err
		}
		if s.RaftIndex == last && s.RaftApplied == s.RaftIndex {
			break
		}
		last = s.RaftIndex
	}
	return nil
}
