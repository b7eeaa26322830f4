package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Bytes that must be free before something is made, rounded up from what one
// Kubernetes version took with empty Go caches: 1.3, 4.2 and 2.3 GB.
const (
	cacheSpace  = 2 << 30 // this package's own folder
	objectSpace = 5 << 30 // Go's build cache
	sourceSpace = 3 << 30 // Go's module cache
)

// claim says how much a folder will grow.
type claim struct {
	folder string
	bytes  uint64
}

// claims returns what building will take, and where.
func claims(ctx context.Context, p plan) ([]claim, error) {
	all := []claim{{p.cacheDir, cacheSpace}}
	if p.given != "" || exists(filepath.Join(p.cacheDir, "kubernetes-"+p.kubernetes, stampFile)) {
		return all, nil // what is left to build is small beside Kubernetes
	}
	out, err := command{env: goEnv()}.run(ctx, "go", "env", "-json", "GOCACHE", "GOMODCACHE")
	if err != nil {
		return nil, err
	}
	var dirs struct{ GOCACHE, GOMODCACHE string }
	if err := json.Unmarshal([]byte(out), &dirs); err != nil {
		return nil, fmt.Errorf("reading the answer of go env: %w", err)
	}
	return append(all, claim{dirs.GOCACHE, objectSpace}, claim{dirs.GOMODCACHE, sourceSpace}), nil
}

// checkSpace refuses, in a sentence, to start what would fill a disk. Claims
// on the same disk add up, and the first of them names it.
func checkSpace(all []claim) error {
	var sums []claim
	var free []uint64
	disks := map[uint64]int{}
	for _, c := range all {
		var disk unix.Stat_t
		var space unix.Statfs_t
		err := onExisting(c.folder, func(dir string) error {
			return errors.Join(unix.Stat(dir, &disk), unix.Statfs(dir, &space))
		})
		if err != nil {
			return fmt.Errorf("asking for the free space of %s: %w", c.folder, err)
		}
		if i, seen := disks[uint64(disk.Dev)]; seen {
			sums[i].bytes += c.bytes
			continue
		}
		disks[uint64(disk.Dev)] = len(sums)
		sums = append(sums, c)
		free = append(free, space.Bavail*uint64(space.Bsize))
	}
	for i, c := range sums {
		if free[i] < c.bytes {
			return fmt.Errorf("the disk of the folder %s has %d bytes free, and %d are needed: free some, or name a folder on another disk",
				c.folder, free[i], c.bytes)
		}
	}
	return nil
}

// onExisting calls look with dir, or with the nearest folder above it that
// exists: Go makes its caches when it first needs them.
func onExisting(dir string, look func(string) error) error {
	for {
		err := look(dir)
		above := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || above == dir {
			return err
		}
		dir = above
	}
}
