// Package parallel calls functions side by side and waits for all of them.
package parallel

import "golang.org/x/sync/errgroup"

// Do calls all functions at once and returns when all have returned.
// The error is that of the first of them, in their order, that has one.
//
// It is for looking: what is asked of several hosts takes as long as the
// slowest. Changes are made one after the other, so that a run that is killed
// leaves one of few states behind.
func Do(do ...func() error) error {
	return Each(do, func(_ int, f func() error) error { return f() })
}

// Each calls one function for all items as Do does.
func Each[T any](items []T, do func(int, T) error) error { return Limited(-1, items, do) }

// Limited is Each with no more than limit calls at the same time; -1 is no limit.
func Limited[T any](limit int, items []T, do func(int, T) error) error {
	errs := make([]error, len(items))
	var group errgroup.Group
	group.SetLimit(limit)
	for i, item := range items {
		group.Go(func() error { errs[i] = do(i, item); return nil })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
