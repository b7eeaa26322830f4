package platform

import (
	"fmt"
	"strings"

	"hamigrate/migrate/hostfiles"
)

// debian is Debian, Ubuntu and what is made of them.
func debian() Family {
	return Family{
		Name:         "Debian",
		Manager:      "apt-get",
		NginxStream:  "libnginx-mod-stream",
		NginxModules: "/etc/nginx/modules-enabled/*.conf",
		install:      aptInstall,
		simulate:     func(p Packages) string { return aptMissing(p) + "; apt-get -s -q " + aptWords(p) },
		byHand:       "apt-get install -y",
	}
}

const (
	policyFile = "/usr/sbin/policy-rc.d"
	policyKept = policyFile + ".before-migrate"
)

// policyMark is a line of our policy.
func policyMark(program string) string {
	return "# of migrate: " + program + " is not started while its packages are installed"
}

// begunFile is there while an installation of a program that was not there is
// under way: a second run goes on with what the first one began.
func begunFile(program string) string { return hostfiles.StateDir + "/" + program + "-install" }

// aptMissing says in $p whether the program itself is to be installed.
func aptMissing(p Packages) string {
	return fmt.Sprintf("p=; if [ -e %s ] || ! command -v %[2]s >/dev/null; then p=%[2]s; fi", begunFile(p.Program), p.Program)
}

func aptWords(p Packages) string { return "install -y --no-install-recommends $p " + p.With }

// aptInstall installs only what is missing: a new version of a program that serves
// others is not ours to bring.
//
// Debian's packages start their services at once; where that fails the package
// stays half configured. So nothing of the program's name is started for as long
// as this script lives (policy-rc.d, see invoke-rc.d(8)), and a policy of somebody
// else's is asked all the same.
func aptInstall(p Packages) string {
	return strings.NewReplacer("BEGUN", begunFile(p.Program), "POLICY", policyFile, "KEPT", policyKept, "MARK", policyMark(p.Program),
		"MISSING", aptMissing(p), "PROGRAM", p.Program, "STATE", hostfiles.StateDir, "WORDS", aptWords(p), "FRESH", p.Fresh).Replace(
		`  begun=BEGUN policy=POLICY kept=KEPT
  mkdir -p -m 0700 STATE
  command -v PROGRAM >/dev/null || echo begun >$begun
  MISSING
  restore() { if [ -e $kept ]; then mv -f $kept $policy; else rm -f $policy; fi; }
  if [ -e $kept ] || grep -qs 'MARK' $policy; then restore; fi
  [ ! -e $policy ] || mv -f $policy $kept
  trap restore EXIT
  printf '%s\n' '#!/bin/sh' 'MARK' 'case "$*" in *PROGRAM*) kill -0 '$$' 2>/dev/null && exit 101;; esac' "[ ! -x $kept ] || exec $kept \"\$@\"" 'exit 0' >$policy
  chmod 755 $policy
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 WORDS
  if [ -e $begun ]; then
    FRESH
    rm -f $begun
  fi`)
}

// InstallBegun is a script's condition that an installation was begun and not
// ended. Only Debian's installation has to be.
func InstallBegun(program string) string {
	return fmt.Sprintf("grep -qs '%s' %s || [ -e %s ]", policyMark(program), policyFile, begunFile(program))
}

// HalfInstalled is a script that prints "PACKAGE is STATE" for packages that dpkg
// has not wholly installed: of all, or of those that are named. It ends with
// success, and prints nothing where there is no dpkg.
func HalfInstalled(packages ...string) string {
	words := strings.Join(append([]string{"2>/dev/null"}, packages...), " ")
	return `dpkg-query -W -f '${Package} is ${db:Status-Status}\n' ` + words + ` | grep -E ' is (half-|unpacked)' || true`
}

// ManagerLocked is a script that prints who holds the lock of dpkg now, if anybody
// does.
const ManagerLocked = `i=$(stat -c %i /var/lib/dpkg/lock-frontend 2>/dev/null) && grep ":$i " /proc/locks 2>/dev/null || true`
