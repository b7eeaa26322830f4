package platform

import "fmt"

// redHat is RHEL, Rocky, Alma, Fedora and their relatives.
func redHat() Family {
	return Family{
		Name:         "Red Hat",
		Manager:      "dnf",
		NginxStream:  "nginx-mod-stream",
		NginxModules: "/usr/share/nginx/modules/*.conf",
		NginxServes:  true,
		install:      dnfInstall,
		byHand:       "dnf install -y",
	}
}

// dnfInstall needs no policy: packages of this family start nothing.
func dnfInstall(p Packages) string {
	return fmt.Sprintf("  p=%[1]s; command -v %[1]s >/dev/null && p=\n  dnf install -y $p %s", p.Program, p.With)
}
