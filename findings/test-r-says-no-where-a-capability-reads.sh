#!/bin/bash
# `[ -r FILE ]` under CAP_DAC_READ_SEARCH (setpriv 2.38.1, a user who is not root): four programs say no to a file that
# they then read, three say yes. dash 0.5.12, bash 5.2.15, yash 2.52, mksh 59c, busybox 1.35.0, ksh93u+m 1.0.4,
# coreutils 9.1 (Debian 12).
#
# Expected: one answer. Either all ask access(2), which leaves a capability out for a user who is not root, and say no;
#           or all ask with the effective rights, and say yes, as open(2) does.
# Seen:     dash, bash and yash say yes. mksh, busybox, ksh93 and /usr/bin/test say no, and so does `find -readable`,
#           while each of these shells reads the very file. A read-only service (AmbientCapabilities=CAP_DAC_READ_SEARCH)
#           with a script `[ -r "$f" ] && cat "$f"` works or finds nothing, by what /bin/sh is on the host.
#
# Exits with 0 while that is so. Needs Debian 12, root and apt-get.
set -euo pipefail
dir=$(mktemp -d); chmod 755 "$dir"; cd "$dir"
trap 'rm -rf "$dir"' EXIT
apt-get download -q 'dash=0.5.12*' 'bash=5.2.15*' 'yash=2.52*' 'mksh=59c*' 'busybox-static=1:1.35.0*' 'ksh93u+m=1.0.4*' 'coreutils=9.1*' \
  'util-linux=2.38.1*' 'findutils=4.9.0*' >/dev/null 2>&1
for deb in *.deb; do dpkg -x "$deb" unpacked; done
at() { for d in bin usr/bin; do [ ! -x "unpacked/$d/$1" ] || { echo "$dir/unpacked/$d/$1"; return; }; done; echo "no $1" >&2; exit 1; }

mkdir -m 700 kept; echo text >kept/file; chmod 600 kept/file
reader() {
  "$(at setpriv)" --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search -- "$@"
}
script='if [ -r "$1" ]; then says=yes; else says=no; fi; IFS= read -r line <"$1" && echo "$says, and reads: $line"'
fails=0
expect() { # NAME ANSWER COMMAND...
  local name=$1 want=$2; shift 2
  local got; got=$(reader "$@" 2>&1) || got="${got:-no}"
  printf '%-16s %s\n' "$name" "$got"
  [ "$got" = "$want" ] || fails=1
}
for shell in dash bash yash; do expect $shell 'yes, and reads: text' "$(at $shell)" -c "$script" sh "$dir/kept/file"; done
for shell in mksh ksh93; do expect $shell 'no, and reads: text' "$(at $shell)" -c "$script" sh "$dir/kept/file"; done
expect busybox 'no, and reads: text' "$(at busybox)" sh -c "$script" sh "$dir/kept/file"
expect /usr/bin/test no "$(at test)" -r "$dir/kept/file"
expect 'find -readable' '' "$(at find)" "$dir/kept/file" -readable
expect cat text "$(at cat)" "$dir/kept/file"
exit $fails
