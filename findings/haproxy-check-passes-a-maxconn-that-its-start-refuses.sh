#!/bin/bash
# HAProxy 2.6.12 (Debian 12): `haproxy -c` and a maxconn above the limit of open files.
#
# Expected: the check tells of it, or the process starts with a smaller maxconn and a warning.
# Seen:     "Configuration file is valid", status 0; the start of the same file, by the same user in the same shell, ends
#           at once: "Cannot raise FD limit to 40017, limit is 1024", status 1. The check does not look at the limit.
#
# Exits with 0 while that is so. Needs Debian 12, root (it gives up its rights), apt-get and setpriv.
set -euo pipefail
dir=$(mktemp -d); chmod 755 "$dir"; cd "$dir"
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$dir"' EXIT
apt-get download -q "haproxy=2.6.12*" liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 >/dev/null 2>&1
for deb in *.deb; do dpkg -x "$deb" unpacked; done
export LD_LIBRARY_PATH="$dir/unpacked/usr/lib/x86_64-linux-gnu" PATH="$dir/unpacked/usr/sbin:$PATH"
haproxy -v | sed -n 1p

printf 'global\n maxconn 20000\ndefaults\n mode tcp\n timeout connect 1s\n timeout client 1m\n timeout server 1m\nlisten f\n bind 127.0.0.1:18443\n server x 127.0.0.1:18444\n' >a.cfg
ulimit -n 1024
nobody() { timeout 20 setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all "$@"; }
check=0; nobody haproxy -c -f a.cfg >check.said 2>&1 || check=$?
start=0; nobody haproxy -db -f a.cfg >start.said 2>&1 || start=$?
echo "check: status $check, $(tail -n 1 check.said)"
echo "start: status $start, $(tail -n 1 start.said)"
[ "$check" = 0 ] && [ "$start" = 1 ] && grep -q 'Cannot raise FD limit' start.said
