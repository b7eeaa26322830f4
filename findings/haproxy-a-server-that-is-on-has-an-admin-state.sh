#!/bin/bash
# HAProxy 2.6.12 (Debian 12): srv_admin_state of a server that the file has as `disabled`, after `set server … state ready`.
#
# Expected: 0, as of a server that was never off: it gets connections.
# Seen:     4 (SRV_ADMF_CMAINT: "by the configuration") from the start on, together with 1 while it is off, and 4 alone when it
#           is on and serves. A script that takes "not 0" for "off" is wrong about it until the next start.
#
# Exits with 0 while that is so. Needs Debian 12, root, apt-get and python3.
set -euo pipefail
dir=$(mktemp -d); chmod 755 "$dir"; cd "$dir"
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$dir"' EXIT
apt-get download -q "haproxy=2.6.12*" liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 >/dev/null 2>&1
for deb in *.deb; do dpkg -x "$deb" unpacked; done
export LD_LIBRARY_PATH="$dir/unpacked/usr/lib/x86_64-linux-gnu" PATH="$dir/unpacked/usr/sbin:$PATH"
haproxy -v | sed -n 1p

conf() { # the port that it listens on, the port that it passes to, more for the global section
  printf 'global\n maxconn 100\n%s\ndefaults\n mode tcp\n timeout connect 1s\n timeout client 9s\n timeout server 9s\n' "${3:-}"
  printf 'frontend f\n bind 127.0.0.1:%s\n default_backend b\nbackend b\n server x 127.0.0.1:%s %s\n' "$1" "$2" "${4:-}"
}

conf 18455 18456 " stats socket $dir/s.sock mode 600 level admin" disabled >a.cfg
cat >tell.py <<'P'
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall((sys.argv[2] + "\n").encode())
out = b""
while chunk := s.recv(4096): out += chunk
print(out.decode().strip())
P
state() { python3 tell.py s.sock "show servers state b" | awk '$4 == "x" {print $7}'; }
haproxy -db -f a.cfg >said 2>&1 &
for i in $(seq 100); do [ -S s.sock ] && break; sleep 0.1; done
off=$(state); python3 tell.py s.sock "set server b/x state ready"; on=$(state)
served=$(python3 tell.py s.sock "show stat" | awk -F, '$1 == "b" && $2 == "x" {print $18}')
echo "disabled in the file: $off; after \"state ready\": $on, and show stat says $served"
[ "$off" = 5 ] && [ "$on" = 4 ] && [ "$served" = "no check" ]
