package phases

import (
	"context"
	"fmt"
	"strings"

	"hamigrate/migrate/remote"
)

// hashed is a checksum, and which file it is of: device, inode, size, and the
// times of the last change of content and of attributes.
type hashed struct{ file, sum string }

// digestScript prints the file's identity and then, unless that is the one
// that was hashed before, its checksum. Identity first: a file that changes in
// between is then hashed again the next time. -L: below /proc/PID/root a
// program may be a symbolic link.
const digestScript = `[ -e %[1]s ] || exit 0
id=$(stat -L -c '%%d %%i %%s %%y %%z' %[1]s); echo "$id"
[ "$id" = %[2]s ] || sha256sum <%[1]s`

// Digest returns the SHA-256 of a file on a host in hexadecimal, "" when it is
// not there. The host reads a file again only when it is another one than at
// the last time: hashing etcd takes longer than all else that its step does.
// The kernel sets the time of the last change of attributes, which no program
// can set back, so a file of the same identity has the same content.
func (v View) Digest(ctx context.Context, host, file string) (string, error) {
	key := host + ":" + file
	v.world.mu.Lock()
	known := v.world.hashed[key]
	v.world.mu.Unlock()
	out, err := v.On(host).Look(ctx, remote.Command{Script: fmt.Sprintf(digestScript, remote.Quote(file), remote.Quote(known.file))})
	if err != nil {
		return "", fmt.Errorf("reading the checksum of %s on %s: %w", file, host, err)
	}
	now, line, hashedNow := strings.Cut(strings.TrimSpace(out), "\n")
	switch {
	case now == "":
		return "", nil
	case !hashedNow:
		return known.sum, nil
	}
	sum, _, _ := strings.Cut(line, " ")
	v.world.mu.Lock()
	defer v.world.mu.Unlock()
	v.world.hashed[key] = hashed{now, sum}
	return sum, nil
}
