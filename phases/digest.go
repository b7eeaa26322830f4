package phases

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"hamigrate/migrate/remote"
)

// hashed is a checksum, and which file it is of: device, inode, size, and the
// times of the last change of content and of attributes.
type hashed struct{ file, sum string }

// digestScript prints the identity of a file, the seconds since its attributes
// changed, and then, unless the identity is the one that was hashed before, its
// checksum; nothing where there is no file. Identity first: with a file that is
// replaced meanwhile it is the identity of one that is no more. -L: below
// /proc/PID/root a program may be a symbolic link.
const digestScript = `set -e
[ -e %[1]s ] || exit 0
id=$(stat -L -c '%%d %%i %%s %%y %%z' %[1]s)
changed=$(stat -L -c %%Z %[1]s)
now=$(date +%%s)
echo "$id"
echo $((now - changed))
[ "$id" = %[2]s ] || sha256sum <%[1]s`

// settled is how old a file must be, in seconds, before its times tell it from
// a later one: their steps are a tick of the kernel on most file systems, and a
// second on some.
const settled = 2

// Digest returns the SHA-256 of a file on a host in hexadecimal, "" when it is
// not there. The host reads a file again only when it is another one than at
// the last time, as make and rsync tell it: hashing etcd takes longer than all
// else that its step does.
func (v View) Digest(ctx context.Context, host, file string) (string, error) {
	key := host + ":" + file
	v.world.mu.Lock()
	known := v.world.hashed[key]
	v.world.mu.Unlock()
	out, err := v.On(host).Look(ctx, remote.Command{Script: fmt.Sprintf(digestScript, remote.Quote(file), remote.Quote(known.file))})
	if err != nil {
		return "", fmt.Errorf("reading the checksum of %s on %s: %w", file, host, err)
	}
	if out == "" {
		return "", nil
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) == 2 && lines[0] == known.file {
		return known.sum, nil
	}
	var age int64
	if len(lines) == 3 {
		age, err = strconv.ParseInt(lines[1], 10, 64)
	}
	if len(lines) != 3 || err != nil || lines[0] == "" {
		return "", fmt.Errorf("reading the checksum of %s on %s: unexpected output %q", file, host, out)
	}
	sum, _, _ := strings.Cut(lines[2], " ")
	if age >= settled {
		v.world.mu.Lock()
		defer v.world.mu.Unlock()
		v.world.hashed[key] = hashed{lines[0], sum}
	}
	return sum, nil
}
