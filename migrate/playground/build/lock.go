package build

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the lock of file, created if missing, and returns what releases
// it. If somebody else holds it, waiting is called once and the call waits
// until the lock is free or ctx ends. The kernel releases a dead process's
// lock, so a leftover file means nothing.
func lock(ctx context.Context, file string, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of the cache folder: %w", err)
	}
	err = flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return func() { f.Close() }, nil
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", file, err)
	}
	waiting()
	taken := make(chan error, 1)
	go func() { taken <- flock(f, unix.LOCK_EX) }()
	select {
	case err := <-taken:
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", file, err)
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		// flock cannot be interrupted: what waits for it stays until the
		// lock is free, and then gives it back at once.
		go func() {
			<-taken
			f.Close()
		}()
		return nil, fmt.Errorf("waiting for another build to release %s: %w", file, ctx.Err())
	}
}

// flock is the system call, repeated when a signal interrupts it.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
