package playground

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

// state is what a playground's folder says about it (playground.json).
type state struct {
	Options
	Created time.Time `json:"created"`
	// Slot is the playground's /24; -1 until one was taken.
	Slot int `json:"slot"`
	// Base is the shared root file system, the overlay's lowest layer.
	Base string `json:"base,omitempty"`
	// NewerBase is that of the hosts with the newer Debian, where there are any.
	NewerBase string `json:"newerBase,omitempty"`
	// Ready is set once, when the cluster was seen ready for the first time.
	Ready bool `json:"ready"`
	// Filled is set once, when all Objects had been written.
	Filled bool `json:"filled,omitempty"`
}

const (
	stateFile = "playground.json"
	lockFile  = ".lock"
)

func readState(dir string) (state, error) {
	path := filepath.Join(dir, stateFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return state{}, err
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return state{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return s, nil
}

func (p *Playground) save() error {
	data, err := json.MarshalIndent(p.state, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(p.dir, stateFile), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("saving the playground's state: %w", err)
	}
	return nil
}

// lock makes the folder and holds it for one process at a time, so that an
// `up` and a `down` of one playground cannot overlap. The lock goes with the
// process that holds it. waiting is called once if there is someone to wait
// for.
func lock(ctx context.Context, dir string, waiting func()) (unlock func(), err error) {
	path := filepath.Join(dir, lockFile)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for first := true; ; first = false {
		f, err := tryLock(dir, path)
		if err != nil {
			return nil, fmt.Errorf("locking the playground: %w", err)
		}
		if f != nil {
			return func() { removeIfEmpty(dir); f.Close() }, nil
		}
		if first {
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for another command on the playground in %s: %w", dir, ctx.Err())
		case <-tick.C:
		}
	}
}

// tryLock returns nil without an error when another process has the lock, or
// removed the folder between our opening the file and locking it.
func tryLock(dir, path string) (*os.File, error) {
	// That it exists is said of a folder that is gone when os.MkdirAll looks
	// what it is.
	if err := os.MkdirAll(dir, 0o755); errors.Is(err, fs.ErrExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, err
	}
	held, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	if there, err := os.Stat(path); err != nil || !os.SameFile(held, there) {
		f.Close()
		return nil, nil
	}
	return f, nil
}

// removeIfEmpty removes a playground's folder that holds no playground (only
// the lock, which the caller holds), and the default folders above it.
func removeIfEmpty(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != lockFile {
		return
	}
	// That a folder is not empty is the expected refusal of os.Remove.
	_ = os.Remove(filepath.Join(dir, lockFile))
	_ = os.Remove(dir)
	if filepath.Dir(dir) == DefaultDir {
		_ = os.Remove(DefaultDir)
		_ = os.Remove(filepath.Dir(DefaultDir))
	}
}
