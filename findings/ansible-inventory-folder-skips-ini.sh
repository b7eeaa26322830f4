#!/bin/bash
# ansible-core 2.14.18 (Debian 12): an inventory that is a folder, and a file in it whose name ends in .ini.
#
# Expected: the folder's files are read, hosts.ini among them: .ini is the usual end of the name of an INI inventory, and
#           the same file is read when it is given by itself.
# Seen:     the file is skipped silently, and the exit status is 0. The hosts in it are missing from the list. The
#           name without .ini, or with .cfg's place taken by none, is read. (The setting is INVENTORY_IGNORE_EXTS.)
#
# Exits with 0 while that is so. Needs Debian 12, apt-get and /usr/bin/python3.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; chmod 755 "$dir"; cd "$dir"
version=2.14.18
apt-get download -q "ansible-core=$version*" python3-jinja2 python3-markupsafe python3-yaml python3-packaging python3-resolvelib \
  python3-cryptography python3-cffi-backend >/dev/null 2>&1
for deb in *.deb; do dpkg -x "$deb" unpacked; done
export PYTHONPATH="$dir/unpacked/usr/lib/python3/dist-packages" HOME="$dir" ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_INVENTORY_UNPARSED_WARNING=false
list() { /usr/bin/python3 unpacked/usr/bin/ansible-inventory -i "$1" --list; }
/usr/bin/python3 unpacked/usr/bin/ansible-inventory --version | sed -n 1p

mkdir clusters
printf '[workers]\nw1 ansible_host=192.0.2.31\n' >clusters/workers
printf '[masters]\ncp1 ansible_host=192.0.2.11\n' >clusters/hosts.ini

echo "the file by itself:"; list clusters/hosts.ini >file.json; grep -c '"cp1"' file.json
echo "the folder (exit status, then how often cp1 and w1 are in it):"
status=0; list clusters >folder.json 2>folder.err || status=$?
cp1=$(grep -c '"cp1"' folder.json || true); w1=$(grep -c '"w1"' folder.json || true)
echo "$status $cp1 $w1"; echo "said about it: $(grep -c 'hosts.ini' folder.err || true) lines"
grep -q '"cp1"' file.json && [ "$status" = 0 ] && [ "$cp1" = 0 ] && [ "$w1" != 0 ] && ! grep -q hosts.ini folder.err
