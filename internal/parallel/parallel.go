// Package parallel calls functions side by side and waits for all of them.
package parallel

import "sync"

// Do calls all functions at once and returns when all have returned.
// The error is that of the first of them, in their order, that has one.
//
// It is for looking: what is asked of several hosts takes as long as the
// slowest. Changes are made one after the other, so that a run that is killed
// leaves one of few states behind.
func Do(do ...func() error) error {
	errs := make([]error, len(do))
	var wg sync.WaitGroup
	for i, f := range do {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Each calls one function for all items as Do does.
func Each[T any](items []T, do func(int, T) error) error {
	calls := make([]func() error, len(items))
	for i, item := range items {
		calls[i] = func() error { return do(i, item) }
	}
	return Do(calls...)
}
