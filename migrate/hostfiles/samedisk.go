package hostfiles

import (
	"context"
	"fmt"
	"strings"

	"hamigrate/migrate/remote"
)

// placeScript prints, for each of two folders, the device and the path without
// links of the nearest one above that is there, and then what is mounted.
const placeScript = `for d in %s %s; do
until [ -e "$d" ]; do d=${d%%/*}; [ -n "$d" ] || d=/; done
stat -L -c %%d "$d"; readlink -f "$d"
done
cat /proc/self/mountinfo`

// SameDisk says whether a rename leads from one folder of a host to another;
// of one that is not there yet, the nearest above it counts. The kernel renames
// within one mount only (rename(2), EXDEV): two mounts of one device, such as a
// folder that is bound to another place, are two, and so are two volumes of
// btrfs, which are two devices in one mount.
func SameDisk(ctx context.Context, r remote.Reader, a, b string) (bool, error) {
	out, err := r.Look(ctx, remote.Command{Script: fmt.Sprintf(placeScript, remote.Quote(a), remote.Quote(b))})
	if err != nil {
		return false, fmt.Errorf("asking %s for the disks of %s and %s: %w", r.Name(), a, b, err)
	}
	lines := strings.SplitN(out, "\n", 5)
	if len(lines) < 5 || !strings.HasPrefix(lines[1], "/") || !strings.HasPrefix(lines[3], "/") {
		return false, fmt.Errorf("asking %s for the disks of %s and %s: stat and readlink printed %q", r.Name(), a, b, lines)
	}
	mounts := mountPoints(lines[4])
	if len(mounts) == 0 {
		return false, fmt.Errorf("asking %s for the disks of %s and %s: /proc/self/mountinfo names no mount", r.Name(), a, b)
	}
	return lines[0] == lines[2] && mountOf(lines[1], mounts) == mountOf(lines[3], mounts), nil
}

// mountPoints reads /proc/self/mountinfo, in which spaces, tabs, line ends and
// backslashes of names are octal (proc_pid_mountinfo(5)).
func mountPoints(mountinfo string) []string {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var out []string
	for line := range strings.Lines(mountinfo) {
		if words := strings.Fields(line); len(words) > 4 {
			out = append(out, unescape.Replace(words[4]))
		}
	}
	return out
}

// mountOf is the nearest mount point above a path.
func mountOf(name string, mounts []string) string {
	best := ""
	for _, m := range mounts {
		if len(m) > len(best) && (name == m || strings.HasPrefix(name, strings.TrimSuffix(m, "/")+"/")) {
			best = m
		}
	}
	return best
}
