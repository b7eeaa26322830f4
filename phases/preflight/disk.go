package preflight

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// syncDir is where the writes go: beside the folder that etcd's data will be
// in, so on the same disk, or in it where that is a disk of its own.
const (
	syncDir   = "/var/lib/" + syncName
	syncName  = ".migrate-preflight"
	syncMount = etcdflags.DataDir + "/" + syncName
)

// syncScript writes as etcd's log does, 2 KiB and a sync, a hundred times or
// for five seconds; dd itself says how long each took. Each look has a folder of
// its own, that has $id in its name: somebody else may look at the same time.
// One that is left in spite of removeSyncs is removed by a later one.
const syncScript = `set -u; d=` + syncDir + `
! grep -qs ' ` + etcdflags.DataDir + ` ' /proc/self/mounts || d=` + syncMount + `
find "${d%/*}" -maxdepth 1 -name '` + syncName + `*' -mmin +5 -exec rm -rf {} + >/dev/null 2>&1 || true
d=$(mktemp -d "$d.$id.XXXXXX") || exit 1
trap 'rm -rf "$d"' EXIT
trap 'exit 1' HUP INT TERM PIPE
LC_ALL=C; export LC_ALL
end=$(($(date +%s) + 5)); i=0
while [ "$i" -lt 100 ] && [ "$(date +%s)" -lt "$end" ]; do
dd if=/dev/zero of="$d/wal" bs=2048 count=1 seek="$i" conv=notrunc oflag=dsync 2>&1 | tail -n 1
i=$((i+1))
done`

// removeSyncs removes what a syncScript that was killed has left.
const removeSyncs = `rm -rf ` + syncDir + `."$id".* ` + syncMount + `."$id".*`

// ddTook is in the last line of GNU's dd ("… copied, 0.0012 s, 1.7 MB/s") and
// of busybox's ("… copied, 0.001234 seconds, 1.6MB/s").
var ddTook = regexp.MustCompile(`copied, ([0-9.e-]+) s`)

// The limits of a sync. etcd's own advice is a 99th percentile below 10 ms;
// at 100 ms, the default heartbeat, members take each other for dead.
const (
	syncWarns  = 10 * time.Millisecond
	syncBlocks = 100 * time.Millisecond
)

// diskSync times synced writes, and those of a disk that seems too slow once
// more: with a hundred of them one pause of the disk, while something else is
// written out, is the 99th percentile.
func diskSync(ctx context.Context, s Scene, h phases.Writer) ([]Finding, error) {
	took, err := syncs(ctx, s, h)
	if err != nil {
		return nil, err
	}
	seen := took.String()
	if took.p99() > syncBlocks {
		if took, err = syncs(ctx, s, h); err != nil {
			return nil, err
		}
		if seen += "; once more: " + took.String(); took.p99() <= syncBlocks {
			return []Finding{warn("", "%s", seen)}, nil
		}
		return []Finding{block("", "%s", seen)}, nil
	}
	if took.p99() > syncWarns {
		return []Finding{warn("", "%s", seen)}, nil
	}
	return []Finding{fine("%s", seen)}, nil
}

// durations are what synced writes took, the shortest first.
type durations []time.Duration

func (d durations) p99() time.Duration { return d[(len(d)*99+99)/100-1] }

func (d durations) String() string {
	return fmt.Sprintf("the 99th percentile of %d synced writes is %.1f ms, the median %.1f ms",
		len(d), d.p99().Seconds()*1000, d[len(d)/2].Seconds()*1000)
}

// cleanUp removes the folder of a script that was cut or killed: then its own
// trap did not. What it cannot remove a later look does.
func cleanUp(ctx context.Context, s Scene, h phases.Writer, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_, _ = h.On(s.Target()).Run(ctx, remote.Command{Script: id + removeSyncs}) // what was wrong is told already
}

// syncs writes and times; fewer than ten writes tell nothing and are an error.
func syncs(ctx context.Context, s Scene, h phases.Writer) (durations, error) {
	id := "id=" + rand.Text() + "; "
	out, err := h.On(s.Target()).Run(ctx, remote.Command{Script: id + syncScript})
	if err != nil {
		if errors.Is(err, remote.ErrUnknownOutcome) {
			cleanUp(ctx, s, h, id)
		}
		return nil, fmt.Errorf("writing to %s on %s: %w", syncDir, s.Target(), err)
	}
	var took durations
	for line := range strings.Lines(out) {
		if m := ddTook.FindStringSubmatch(line); m != nil {
			if seconds, err := strconv.ParseFloat(m[1], 64); err == nil {
				took = append(took, time.Duration(seconds*float64(time.Second)))
			}
		}
	}
	if len(took) < 10 {
		return nil, fmt.Errorf("writing to %s on %s: %d writes were timed: %q", syncDir, s.Target(), len(took), remote.Excerpt(out))
	}
	slices.Sort(took)
	return took, nil
}
