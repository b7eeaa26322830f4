#!/bin/bash
# keepalived 2.2.7 (Debian 12): `keepalived --config-test` and an auth_pass of more than eight characters.
#
# Expected: exit status 0, with a warning at most: the manual says that only the first eight characters are used, and
#           keepalived itself starts with such a file and takes the address.
# Seen:     "Truncating auth_pass to 8 characters", and exit status 5. So `validate: keepalived -t -f %s` of an
#           Ansible role refuses the file that the running keepalived was started with, and a test before each reload
#           says no to a pair that works.
#
# Exits with 0 while that is so. Needs Debian 12, root (a network namespace of its own), apt-get and iproute2.
set -euo pipefail
dir=$(mktemp -d); chmod 755 "$dir"; cd "$dir"
trap 'for p in *.pid; do [ ! -s "$p" ] || kill "$(cat "$p")" 2>/dev/null || true; done; rm -rf "$dir"' EXIT
version=2.2.7
apt-get download -q "keepalived=1:$version*" libipset13 libnl-3-200 libnl-genl-3-200 libnl-route-3-200 libnftnl11 libsnmp40 libpci3 libwrap0 >/dev/null 2>&1
for deb in *.deb; do dpkg -x "$deb" unpacked; done
export LD_LIBRARY_PATH="$dir/unpacked/usr/lib/x86_64-linux-gnu:$dir/unpacked/lib/x86_64-linux-gnu" PATH="$dir/unpacked/usr/sbin:$PATH"
keepalived --version 2>&1 | sed -n 1p

conf() {
  printf 'vrrp_instance api {\n interface v0\n state BACKUP\n virtual_router_id 51\n priority 100\n advert_int 1\n'
  printf ' authentication {\n  auth_type PASS\n  auth_pass %s\n }\n virtual_ipaddress {\n  192.0.2.5\n }\n}\n' "$1"
}
conf 12345678 >eight.conf; conf 123456789 >nine.conf
cat >inside.sh <<'S'
set -eu
ip link add v0 type veth peer name v1; ip addr add 192.0.2.1/24 dev v0; ip link set v0 up; ip link set v1 up
for n in eight nine; do
  status=0; keepalived --config-test -f $n.conf >$n.said 2>&1 || status=$?
  echo "$n characters: the test's exit status is $status: $(cat $n.said)"; echo $status >$n.status
done
keepalived --dont-fork --log-console --vrrp -f nine.conf -p run.pid -r vrrp.pid >run.log 2>&1 &
for i in $(seq 100); do ip -o addr show dev v0 | grep -q 192.0.2.5 && break; sleep 0.2; done
ip -o addr show dev v0 | grep -q 192.0.2.5 && { echo "with nine characters it runs, and has the address"; touch taken; }
kill %1; wait || true
S
unshare --net bash inside.sh
[ "$(cat eight.status)" = 0 ] && [ "$(cat nine.status)" = 5 ] && grep -q 'Truncating auth_pass' nine.said && [ -e taken ]
