package nginx

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"hamigrate/migrate/remote"
)

// noScratch is the exit status of tryOut's script where a configuration can't
// be tried beside the real one.
const noScratch = 77

// errNoScratch: the host can't try a configuration beside the real one.
var errNoScratch = errors.New("a configuration of nginx can't be tried out there")

// tryOut lets nginx itself judge files, before any of them is written. nginx
// takes included files from the folder of nginx.conf, so the folder has to be
// that one: the test sees a copy of /etc/nginx at its place, in memory, which
// nobody else sees and which ends with it (mount_namespaces(7); not every unshare
// makes the mounts private, so that comes first). The shell stays in the real
// folder while the copy is put over it, so the host needs no other. The nginx
// that runs is not asked.
//
// A link in the copy leads where it leads in the original. A file that is not in
// the copy when all links are followed is the one that the running nginx will
// read, so then nothing is written: the configuration can't be tried.
func tryOut(ctx context.Context, r remote.Reader, files ...remote.File) error {
	var inner strings.Builder
	fmt.Fprintf(&inner, `set -eu
mount --make-rprivate / || exit %[2]d
cd %[1]s
{ [ "$(du -sk . | cut -f1)" -lt 65536 ] && mount -t tmpfs -o mode=0755 none %[1]s && cp -a . %[1]s/; } || exit %[2]d
cd /
copy=$(readlink -m %[1]s) || exit %[2]d
within() { case "$(readlink -m "$1")" in "$copy"/*) ;; *) echo "$1 leads out of %[1]s" >&2; exit %[2]d;; esac; }
`, path.Dir(nginxConf), noScratch)
	for _, f := range files {
		fmt.Fprintf(&inner, "within %s\n", remote.Quote(f.Path))
	}
	var data []byte
	for _, f := range files {
		fmt.Fprintf(&inner, "f=$(readlink -m %s)\nmkdir -p \"${f%%/*}\"\nrm -f \"$f\"\nhead -c %d >\"$f\"\n", remote.Quote(f.Path), len(f.Data))
		data = append(data, f.Data...)
	}
	inner.WriteString("nginx -t\n")
	script := fmt.Sprintf("unshare -m true 2>/dev/null || exit %d\nexec unshare -m sh -c %s", noScratch, remote.Quote(inner.String()))
	_, err := r.Look(ctx, remote.Command{Script: script, Stdin: data, Waits: true})
	var exit *remote.ExitError
	switch {
	case errors.As(err, &exit) && exit.Status == noScratch:
		return fmt.Errorf("%w: %s", errNoScratch, strings.TrimSpace(exit.Stderr))
	case errors.As(err, &exit):
		return refusedError{fmt.Sprintf("nginx on %s would refuse the new configuration", r.Name()), complaint(exit.Stderr)}
	case err != nil:
		return fmt.Errorf("trying out the new configuration of nginx on %s: %w", r.Name(), err)
	}
	return nil
}
