package platform

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"hamigrate/migrate/remote"
)

// Confined is what keeps a program from something that root may do: SELinux, as on
// Red Hat's family, or AppArmor, as on Debian's.
type Confined struct {
	SELinux  bool   // it enforces
	Ports    string // as `semanage port -l` prints the ports of a web server; "" where it does not say
	Connects bool   // the boolean that was asked for is not off
	AppArmor string // the profiles that enforce for the program
}

// LookConfined asks a host what confines a program that SELinux lets open
// connections by a boolean, such as httpd_can_network_connect.
func LookConfined(ctx context.Context, r remote.Reader, program, boolean string) (Confined, error) {
	out, err := r.Look(ctx, remote.Command{Script: `getenforce 2>/dev/null || true
echo @@ports
semanage port -l 2>/dev/null | grep -w ^http_port_t || true
echo @@connect
getsebool ` + boolean + ` 2>/dev/null || true
echo @@apparmor
grep -E '^[^ ]*` + program + `.* \(enforce\)$' /sys/kernel/security/apparmor/profiles 2>/dev/null || true`})
	if err != nil {
		return Confined{}, fmt.Errorf("asking %s for SELinux and AppArmor: %w", r.Name(), err)
	}
	mode, out, _ := strings.Cut(out, "@@ports\n")
	ports, out, _ := strings.Cut(out, "@@connect\n")
	connect, profile, _ := strings.Cut(out, "@@apparmor\n")
	return Confined{
		SELinux:  strings.TrimSpace(mode) == "Enforcing",
		Ports:    strings.TrimSpace(ports),
		Connects: !strings.Contains(connect, "off"),
		AppArmor: strings.TrimSpace(profile),
	}, nil
}

// May says whether a port is among Ports: "http_port_t  tcp  80, 443, 8000-8009".
func (c Confined) May(port int) bool {
	for word := range strings.FieldsFuncSeq(c.Ports, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }) {
		from, to, is := strings.Cut(word, "-")
		if !is {
			to = from
		}
		low, errLow := strconv.Atoi(from)
		high, errHigh := strconv.Atoi(to)
		if errLow == nil && errHigh == nil && low <= port && port <= high {
			return true
		}
	}
	return false
}

// LabelPort is the command that lets a web server listen on a port under SELinux.
func LabelPort(port int) string {
	return fmt.Sprintf("semanage port -a -t http_port_t -p tcp %d", port)
}
