#!/bin/bash
# HAProxy 2.6.12 (Debian 12): a second HAProxy with another configuration and the same address and port.
#
# Expected: it does not start, as nearly every other server: "Address already in use".
# Seen:     its check is fine, it starts without a word, and each of the two gets about half of the new connections, since
#           listeners are made with SO_REUSEPORT. `noreuseport` in both, or in the second, makes it refuse.
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

cat >answers.py <<'P'
import socket, sys, threading
def serve(port, word):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", port)); s.listen(64)
    while True:
        c, _ = s.accept(); c.sendall(word); c.close()
for port, word in ((18451, b"A"), (18452, b"B")):
    threading.Thread(target=serve, args=(port, word), daemon=True).start()
threading.Event().wait(60)
P
python3 answers.py & 
answers() { (exec 5<>/dev/tcp/127.0.0.1/"$1") 2>/dev/null; }
conf 18450 18451 >a.cfg; conf 18450 18452 >b.cfg; conf 18450 18452 ' noreuseport' >c.cfg
for i in $(seq 100); do answers 18452 && break; sleep 0.1; done
haproxy -db -f a.cfg >a.said 2>&1 &
for i in $(seq 100); do answers 18450 && break; sleep 0.1; done
haproxy -c -f b.cfg
haproxy -db -f b.cfg >b.said 2>&1 & second=$!
got=
for i in $(seq 200); do
  exec 5<>/dev/tcp/127.0.0.1/18450; got=$got$(head -c 1 <&5); exec 5>&-
  case $got in *A*B*|*B*A*) [ "$i" -lt 60 ] || break;; esac
  sleep 0.02
done
echo "of ${#got} connections: A $(tr -cd A <<<"$got" | wc -c), B $(tr -cd B <<<"$got" | wc -c); the second said: $(cat b.said)"
kill -0 "$second"; kill "$second"; wait "$second" || true
status=0; timeout 20 haproxy -db -f c.cfg >c.said 2>&1 || status=$?
echo "with noreuseport: status $status, $(tail -n 1 c.said)"
case $got in *A*B*|*B*A*) [ "$status" = 1 ];; *) false;; esac
