package sshhost

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"hamigrate/migrate/remote"
)

// The scripts below need POSIX sh and GNU coreutils (stat -c, mktemp,
// dd iflag=count_bytes, mv -T, sync FILE) and, for killing, grep and /proc.
// Their variables are assigned in front of them by assign. `set -e` with a message on standard error is how they fail; what
// the caller has to tell apart they print.

// unseen is a shell function: it ends the script where $1 may be there after
// all but hidden in a folder that may not be searched. test -x would ask by the
// user's number alone in some shells, and not by the capability of one who may
// look.
const unseen = `
unseen() {
	up=${1%/*}
	while [ -n "$up" ] && [ ! -d "$up" ]; do up=${up%/*}; done
	[ -e "$up/." ] || { echo "no right to look into $up" >&2; exit 1; }
}
`

// readScript prints "absent", or "file", the mode, uid, gid, user, group and
// size, each on a line, and then the content. Everything is read from one
// open file: a file replaced meanwhile is seen as it was or as it is.
const readScript = unseen + `
set -eu
if [ ! -e "$f" ]; then unseen "$f"; echo absent; exit 0; fi
[ -f "$f" ] || { echo "$f is not a regular file" >&2; exit 1; }
exec <"$f"
stat --printf 'file\n%a\n%u\n%g\n%U\n%G\n%s\n' -
cat
`

// listScript prints "absent", or "folder" and a line break and the names,
// each ended by NUL.
const listScript = unseen + `
set -eu
if [ ! -e "$d" ]; then unseen "$d"; echo absent; exit 0; fi
[ -d "$d" ] || { echo "$d is not a folder" >&2; exit 1; }
cd -- "$d"
echo folder
for name in * .[!.]* ..?*; do
	if [ -e "$name" ] || [ -L "$name" ]; then printf '%s\0' "$name"; fi
done
`

// writeScript reads $size bytes of content and a line with their SHA-256 from
// standard input. Input that is cut anywhere does not have the right line at
// its end, so nothing is renamed. Leftovers of an earlier writer, which were
// there at the start, are removed before: should that one still be running
// behind a lost connection, its rename then fails instead of undoing ours (and
// nocreat keeps it from making its file again). One whose own input was cut,
// and which may come to run after the one that repeats it has begun, does not
// get that far. The checksum is read back while the content is on its way to
// the disk: both take their time with a large file. openssl uses the
// processor's own SHA-256 where coreutils on most distributions do not, and is
// three to five times as fast; its word counts only where it is the right one.
//
// Each program that is started costs a millisecond or two, and most writes are
// small: what is as it must be already is not set again.
const writeScript = `
set -eu
umask 077
if [ -L "$f" ]; then
	link=$f
	f=$(readlink -f -- "$link") || { echo "$link is a symbolic link to nowhere" >&2; exit 1; }
fi
if [ -e "$f" ] && [ ! -f "$f" ]; then echo "$f is not a regular file" >&2; exit 1; fi
dir=${f%/*}
dir=${dir:-/}
[ -d "$dir" ] || (umask 022; mkdir -p -- "$dir")
set -- "$dir/.${f##*/}.migrate-"??????
tmp=$(mktemp -- "$dir/.${f##*/}.migrate-XXXXXX")
trap 'rm -f -- "$tmp"' EXIT
trap 'exit 1' HUP INT PIPE TERM
dd bs=1M iflag=fullblock,count_bytes count="$size" of="$tmp" conv=nocreat status=none
want=
IFS= read -r want || :
if [ -e "$f" ] && { [ -z "$owner" ] || [ -z "$mode" ]; }; then
	had=$(stat -c '%u:%g %a' -- "$f")
	owner=${owner:-${had% *}} mode=${mode:-${had#* }}
fi
chown -- "${owner:-0:0}" "$tmp"
[ "${mode:-600}" = 600 ] || chmod -- "$mode" "$tmp"
sync -- "$tmp" &
got=
[ "$size" -lt 1048576 ] || got=$(openssl dgst -sha256 -r <"$tmp" 2>/dev/null) || :
if [ -z "$got" ] || [ "${got%% *}" != "$want" ]; then got=$(sha256sum <"$tmp"); fi
wait "$!"
if [ -z "$want" ] || [ "${got%% *}" != "$want" ]; then
	echo "the content for $f did not arrive whole: SHA-256 ${got%% *} instead of ${want:-nothing}" >&2
	exit 1
fi
[ "$#" -eq 1 ] && [ ! -e "$1" ] || rm -f -- "$@"
mv -fT -- "$tmp" "$f"
trap - EXIT
sync -- "$dir"
`

// removeScript removes one file or symbolic link.
const removeScript = `
set -eu
dir=${f%/*}
rm -f -- "$f"
[ ! -d "${dir:-/}" ] || sync -- "${dir:-/}"
`

// renameScript prints "moved", "absent" or "exists".
//
// Within one mount it is one rename(2). Whether it is one mount is asked by
// hard-linking an empty file, since device numbers do not tell bind mounts
// apart. Across mounts the source is first renamed to a dot-name beside it,
// copied to a dot-name beside the target, synced, renamed into place, and
// then removed; a script that was cut in between is carried on by the next
// one, and one that fails (a full disk) puts the source back.
const renameScript = unseen + `
set -eu
there() { [ -e "$1" ] || [ -L "$1" ]; }
fdir=${from%/*} tdir=${to%/*}
fdir=${fdir:-/} tdir=${tdir:-/}
parked=$fdir/.${from##*/}.migrate-moving
copy=$tdir/.${to##*/}.migrate-moving
if ! there "$from" && there "$parked"; then
	if there "$to"; then
		rm -rf -- "$parked"
		sync -- "$fdir"
		echo moved
		exit 0
	fi
	mv -T -- "$parked" "$from"
fi
if ! there "$from"; then
	if there "$to"; then echo moved; exit 0; fi
	unseen "$from"
	echo absent
	exit 0
fi
if there "$to"; then echo exists; exit 0; fi
[ -d "$tdir" ] || { echo "$tdir is not a folder" >&2; exit 1; }
probe=$(mktemp -- "$fdir/.migrate-XXXXXX")
trap 'rm -f -- "$probe" "$tdir/${probe##*/}.link"' EXIT
if ln -- "$probe" "$tdir/${probe##*/}.link" 2>/dev/null; then
	mv -nT -- "$from" "$to" || :
	if there "$from"; then
		if there "$to"; then echo exists; exit 0; fi
		exit 1
	fi
	sync -- "$fdir" "$tdir"
	echo moved
	exit 0
fi
rm -f -- "$probe"
trap 'rm -rf -- "$copy"; there "$from" || mv -T -- "$parked" "$from"' EXIT
rm -rf -- "$copy"
mv -T -- "$from" "$parked"
cp -a -- "$parked" "$copy"
sync -f -- "$tdir"
mv -nT -- "$copy" "$to" || :
if there "$copy"; then there "$to" && echo exists; exit; fi
trap - EXIT
sync -- "$tdir"
rm -rf -- "$parked"
sync -- "$fdir"
echo moved
`

// killScript kills every process with $mark in its environment, again and
// again until there is none: some may be born meanwhile, and the first of
// them may not have begun yet.
const killScript = `
seen= none=0
while [ "$none" -lt 10 ]; do
	found=$(grep -lsF -- "$mark" /proc/[0-9]*/environ) || :
	for p in $found; do
		p=${p#/proc/}
		kill -KILL "${p%/environ}" 2>/dev/null
		seen=1
	done
	[ -z "$found" ] || continue
	[ -z "$seen" ] || exit 0
	none=$((none + 1))
	sleep 0.1
done
`

// assign returns lines that set shell variables, given name and value in turn.
func assign(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%s=%s\n", pairs[i], remote.Quote(pairs[i+1]))
	}
	return b.String()
}

// absolute returns p cleaned; the scripts rely on a leading slash.
func absolute(p string) (string, error) {
	if !path.IsAbs(p) || path.Clean(p) == "/" {
		return "", fmt.Errorf("%q is not the absolute path of a file or folder", p)
	}
	return path.Clean(p), nil
}

func writeVariables(target string, f remote.File, size int64) string {
	mode := ""
	if f.Mode != 0 {
		mode = strconv.FormatUint(uint64(f.Mode&fs.ModePerm), 8)
	}
	return assign("f", target, "mode", mode, "owner", f.Owner, "size", strconv.FormatInt(size, 10))
}
