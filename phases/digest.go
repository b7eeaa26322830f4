package phases

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/rights"
)

// hashed is a checksum, and which file it is of: device, inode, size, and the
// times of the last change of content and of attributes.
type hashed struct{ file, sum string }

// fileCache keeps what was read of hosts' files, where the host says that they are
// still the same.
type fileCache struct {
	mu       sync.Mutex
	sums     map[string]hashed // by host:path, see Digest
	contents map[string][]byte // by checksum, see Content
}

// digestScript prints the identity of a file, the seconds since its attributes
// changed, and then, unless the identity is the one that was hashed before, its
// checksum; nothing where there is no file. Identity first: with a file that is
// replaced meanwhile it is the identity of one that is no more. -L: below
// /proc/PID/root a program may be a symbolic link. Only stat itself tells a file
// that is not there from one in a folder that may not be searched. The size is
// the third word.
const digestScript = `set -eu
f=%[1]s
if ! all=$(stat -L -c %[3]s "$f" 2>&1); then
case $all in *'No such file or directory'*) exit 0 ;; esac
echo "$all" >&2
exit 1
fi
id=${all%% *} changed=${all##* }
now=$(date +%%s)
echo "$id"
echo $((now - changed))
[ "$id" != %[2]s ] || exit 0
size=${id#* * }
sum=
[ "${size%%%% *}" -lt 1048576 ] || sum=$(openssl dgst -sha256 -r "$f" 2>/dev/null) || :
sum=${sum%%%% *}
case $sum in *[!0-9a-f]*) sum= ;; esac
if [ "${#sum}" -eq 64 ]; then echo "$sum"; else sha256sum "$f"; fi`

// settled is how old a file must be, in seconds, before its times tell it from
// a later one: their steps are a tick of the kernel on most file systems, and a
// second on some.
const settled = 2

// Digest returns the SHA-256 of a file on a host in hexadecimal, "" when it is
// not there. The host reads a file again only when it is another one than at
// the last time, as make and rsync tell it: hashing etcd takes longer than all
// else that its step does.
func (v Reader) Digest(ctx context.Context, host, file string) (string, error) {
	key := host + ":" + file
	v.access.files.mu.Lock()
	known := v.access.files.sums[key]
	v.access.files.mu.Unlock()
	out, err := v.On(host).Look(ctx, remote.Command{Script: fmt.Sprintf(digestScript, remote.Quote(file), remote.Quote(known.file), remote.Quote(rights.StatFormat))})
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
		return "", fmt.Errorf("reading the checksum of %s on %s: unexpected output %q", file, host, remote.Excerpt(out))
	}
	sum, _, _ := strings.Cut(lines[2], " ")
	if age >= settled {
		v.access.files.mu.Lock()
		defer v.access.files.mu.Unlock()
		v.access.files.sums[key] = hashed{lines[0], sum}
	}
	return sum, nil
}

// contentTries is how often a file is read whose connection is lost meanwhile.
const contentTries = 3

// Content returns a file of a host, of any size, whose checksum is known. It is
// read once for all targets and kept: what is for three hosts would else be
// read three times. An error where the content is another one by now.
func (v Reader) Content(ctx context.Context, host, file, sum string) ([]byte, error) {
	v.access.files.mu.Lock()
	data, have := v.access.files.contents[sum]
	v.access.files.mu.Unlock()
	if have {
		return data, nil
	}
	var err error
	for range contentTries {
		data, err = v.stream(ctx, host, file)
		if err == nil || ctx.Err() != nil || !errors.Is(err, remote.ErrUnknownOutcome) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s on %s: %w", file, host, err)
	}
	if is := sha256.Sum256(data); hex.EncodeToString(is[:]) != sum {
		return nil, fmt.Errorf("reading %s on %s: it was changed meanwhile", file, host)
	}
	v.access.files.mu.Lock()
	defer v.access.files.mu.Unlock()
	v.access.files.contents[sum] = data
	return data, nil
}

func (v Reader) stream(ctx context.Context, host, file string) ([]byte, error) {
	content, size, err := lazyHost{v.access, host}.Open(ctx, file)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	data := make([]byte, size)
	_, err = io.ReadFull(content, data)
	return data, err
}
