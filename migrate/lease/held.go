package lease

import (
	"fmt"
	"time"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/show"
)

// HeldError says that somebody else migrates this cluster.
type HeldError struct {
	holder kube.Operator
	now    time.Time // by this machine's clock
}

// Stale says that the holder did not renew in time, as far as the two clocks
// agree.
func (e *HeldError) Stale() bool { return e.now.After(e.holder.Renewed.Add(e.holder.Lasts)) }

func (e *HeldError) Error() string {
	said := describeHolder(e.holder, e.now)
	if e.Stale() {
		return said + ". That is too long ago for a run that is alive: `migrate unlock` looks again and takes the cluster over"
	}
	return said + ". Wait until that has ended, or stop it there; `migrate unlock` tells whether it is alive"
}

// describeHolder says who, with what, since when, and when it was last heard.
func describeHolder(h kube.Operator, now time.Time) string {
	return fmt.Sprintf("%s migrates this cluster since %s UTC (`%s`, journal %s there), last heard of %s",
		h.Who, h.Since.UTC().Format(time.DateTime), h.Command, h.Journal, ago(now.Sub(h.Renewed)))
}

// ago words an age. A clock that is ahead of the other makes it negative.
func ago(d time.Duration) string {
	switch {
	case d < -leaseRenew:
		return fmt.Sprintf("%s from now, by this machine's clock: the two clocks differ", show.Seconds(-d))
	case d < time.Second:
		return "just now"
	}
	return show.Seconds(d) + " ago"
}

// Held is the error that holder has the cluster, as seen just now.
func Held(holder kube.Operator) *HeldError { return &HeldError{holder, time.Now()} }
