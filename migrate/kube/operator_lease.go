package kube

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The Lease that says who migrates the cluster. It is there while somebody
// does, and is deleted afterwards.
const (
	operatorNamespace = "kube-system"
	operatorName      = "hamigrate"

	operatorAnnotation   = "migrate.hamigrate/operator"
	runAnnotation        = "migrate.hamigrate/run"
	journalAnnotation    = "migrate.hamigrate/journal"
	commandAnnotation    = "migrate.hamigrate/command"
	unlockedByAnnotation = "migrate.hamigrate/unlocked-by"
)

// Operator is who migrates the cluster, as the Lease kube-system/hamigrate
// tells it. It holds no secret. Its times are by the operator's own clock.
type Operator struct {
	ID      string // random, kept in the journal: the same journal is the same operator
	Run     string // random, of one process
	Who     string // user@host
	Journal string // the journal's file on that host
	Command string // "migrate run"
	Since   time.Time
	Renewed time.Time
	Lasts   time.Duration // how long after Renewed it is to be believed
	// UnlockedBy is who took the Lease away; the operator has not noticed yet.
	UnlockedBy string

	uid, version string // of the object that was read
}

// Free says that nobody holds the cluster by this Lease any more.
func (o Operator) Free() bool { return o.Who == "" }

// Operator reads the Lease; nil where there is none.
func (r Reader) Operator(ctx context.Context) (*Operator, error) {
	l, err := r.api.CoordinationV1().Leases(operatorNamespace).Get(ctx, operatorName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Lease %s/%s: %w", operatorNamespace, operatorName, err)
	}
	return operatorOf(l), nil
}

func operatorOf(l *coordinationv1.Lease) *Operator {
	a := l.Annotations
	o := &Operator{ID: a[operatorAnnotation], Run: a[runAnnotation], Journal: a[journalAnnotation], Command: a[commandAnnotation],
		UnlockedBy: a[unlockedByAnnotation], uid: string(l.UID), version: l.ResourceVersion}
	if l.Spec.HolderIdentity != nil {
		o.Who = *l.Spec.HolderIdentity
	}
	if l.Spec.AcquireTime != nil {
		o.Since = l.Spec.AcquireTime.Time
	}
	if l.Spec.RenewTime != nil {
		o.Renewed = l.Spec.RenewTime.Time
	}
	if l.Spec.LeaseDurationSeconds != nil {
		o.Lasts = time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second
	}
	return o
}

// write puts an operator into a Lease.
func (o Operator) write(l *coordinationv1.Lease) {
	seconds := int32(o.Lasts / time.Second)
	since, renewed := metav1.NewMicroTime(o.Since), metav1.NewMicroTime(o.Renewed)
	if l.Annotations == nil {
		l.Annotations = map[string]string{}
	}
	for name, value := range map[string]string{operatorAnnotation: o.ID, runAnnotation: o.Run, journalAnnotation: o.Journal, commandAnnotation: o.Command} {
		l.Annotations[name] = value
	}
	delete(l.Annotations, unlockedByAnnotation)
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds = &o.Who, &seconds
	l.Spec.AcquireTime, l.Spec.RenewTime = &since, &renewed
}

// TakeOperator makes me the one who migrates the cluster: where nobody is,
// where it was unlocked, and where the holder has the same ID, which is the
// same journal after a crash. Else it changes nothing and returns the holder.
// Of two who try at once one gets it: each write names the version read.
func (c Client) TakeOperator(ctx context.Context, me Operator) (holder *Operator, err error) {
	leases := c.api.CoordinationV1().Leases(operatorNamespace)
	lost := func(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }
	err = retryOn(lost, func() error {
		holder = nil
		l, err := leases.Get(ctx, operatorName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			l = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: operatorName}}
			me.write(l)
			_, err = leases.Create(ctx, l, metav1.CreateOptions{})
			return err
		}
		if err != nil {
			return err
		}
		if now := operatorOf(l); !now.Free() && now.ID != me.ID {
			holder = now
			return nil
		}
		me.write(l)
		_, err = leases.Update(ctx, l, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("taking Lease %s/%s: %w", operatorNamespace, operatorName, err)
	}
	return holder, nil
}

// RenewOperator says that me, which TakeOperator has taken, is still at work.
// Where it is not me's any more nothing is changed, and now is what is there
// instead: nil for no Lease at all.
func (c Client) RenewOperator(ctx context.Context, me Operator) (mine bool, now *Operator, err error) {
	leases := c.api.CoordinationV1().Leases(operatorNamespace)
	err = onConflict(func() error {
		mine, now = false, nil
		l, err := leases.Get(ctx, operatorName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		now = operatorOf(l)
		if now.Free() || now.Run != me.Run {
			return nil
		}
		me.write(l)
		_, err = leases.Update(ctx, l, metav1.UpdateOptions{})
		mine = err == nil
		return err
	})
	if err != nil {
		return false, nil, fmt.Errorf("renewing Lease %s/%s: %w", operatorNamespace, operatorName, err)
	}
	return mine, now, nil
}

// ReleaseOperator deletes the Lease where it is me's, also when it was
// unlocked meanwhile. Another's is left alone.
func (c Client) ReleaseOperator(ctx context.Context, me Operator) error {
	now, err := c.Operator(ctx)
	if err != nil || now == nil || now.Run != me.Run {
		return err
	}
	return c.deleteOperator(ctx, *now)
}

// Unlock takes the Lease away from the operator that was seen. One that may
// still be at work is to be told: then the Lease stays, held by nobody, and
// says by whom it was unlocked until the operator has seen it or the next one
// takes it. A Lease that has changed since is left alone, with an error.
func (c Client) Unlock(ctx context.Context, seen Operator, by string, tell bool) error {
	if !tell {
		return c.deleteOperator(ctx, seen)
	}
	leases := c.api.CoordinationV1().Leases(operatorNamespace)
	err := onConflict(func() error {
		l, err := leases.Get(ctx, operatorName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil // it has ended by itself
		}
		if err != nil {
			return err
		}
		if now := operatorOf(l); now.Run != seen.Run {
			return fmt.Errorf("%s holds it by now", now.Who)
		}
		l.Spec.HolderIdentity = nil
		l.Annotations[unlockedByAnnotation] = by
		_, err = leases.Update(ctx, l, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("unlocking Lease %s/%s: %w", operatorNamespace, operatorName, err)
	}
	return nil
}

func (c Client) deleteOperator(ctx context.Context, seen Operator) error {
	options := metav1.DeleteOptions{}
	if seen.version != "" {
		uid := types.UID(seen.uid)
		options.Preconditions = &metav1.Preconditions{UID: &uid, ResourceVersion: &seen.version}
	}
	err := c.api.CoordinationV1().Leases(operatorNamespace).Delete(ctx, operatorName, options)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting Lease %s/%s: %w", operatorNamespace, operatorName, err)
	}
	return nil
}
