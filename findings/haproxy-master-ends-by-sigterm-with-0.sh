#!/bin/bash
# HAProxy 2.6.12 (Debian 12): the exit status after SIGTERM, with a master process (-W, and -Ws as its unit has it).
#
# Expected: 143, as without a master: Debian's haproxy.service says SuccessExitStatus=143.
# Seen:     the worker ends with 143, and the master, whose status is what systemd sees, with 0. So a unit with
#           Restart=on-failure leaves HAProxy down after a `pkill haproxy`; Debian's own has Restart=always.
#
# Exits with 0 while that is so. Needs Debian 12, root, apt-get.
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

conf 18453 18454 >a.cfg
end() { # the status of haproxy with these flags, ended by SIGTERM when it listens
  haproxy "$@" -f a.cfg >said 2>&1 & local pid=$! status=0
  for i in $(seq 100); do (exec 5<>/dev/tcp/127.0.0.1/18453) 2>/dev/null && break; sleep 0.1; done
  kill -TERM $pid; wait $pid || status=$?
  echo "$*: status $status; $(grep -o 'exited with code [0-9]*' said || echo 'no worker')" | tee "said$1"
}
end -db; end -W; end -Ws
grep -q 'SuccessExitStatus=143' unpacked/lib/systemd/system/haproxy.service
grep -q 'status 143' said-db && grep -q 'status 0; exited with code 143' said-W && grep -q 'status 0; exited with code 143' said-Ws
