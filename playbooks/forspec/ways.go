package forspec

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
	"hamigrate/playbooks"
)

// waysTo are the hosts of a spec with how each is reached.
func waysTo(spec cluster.Spec) []playbooks.Way {
	var out []playbooks.Way
	add := func(part string, hosts ...cluster.Host) {
		for _, h := range hosts {
			out = append(out, playbooks.Way{Host: h.Name, Part: part, Address: h.Address, Login: login(h), Rights: h.SSH.Become})
		}
	}
	add("load balancer", spec.LoadBalancer.Hosts...)
	add("etcd", spec.Etcd.Hosts...)
	add("first control-plane node", spec.ControlPlane.First)
	add("joining control-plane node", spec.ControlPlane.Joining...)
	add("worker", spec.Workers...)
	add("a Node that is not named here", cluster.Host{Name: "–", Address: "its InternalIP", SSH: spec.SSH})
	return out
}

// atHome writes a file of the home folder as ~/…, which is right on whatever
// machine the text is read.
func atHome(file string, quote func(string) string) string {
	home, err := os.UserHomeDir()
	if rest, in := strings.CutPrefix(file, home+"/"); err == nil && in {
		return "~/" + quote(rest)
	}
	return quote(file)
}

// usualTimeout is that of a spec that names none.
const usualTimeout = 10 * time.Second

// login is the command by which a person logs in as the program does.
func login(h cluster.Host) string {
	words := []string{"ssh"}
	if h.SSH.Timeout != usualTimeout && h.SSH.Timeout != 0 {
		words = append(words, fmt.Sprintf("-o ConnectTimeout=%d", int(h.SSH.Timeout.Seconds())))
	}
	if h.SSH.Port != 0 {
		words = append(words, fmt.Sprintf("-p %d", h.SSH.Port))
	}
	if h.SSH.IdentityFile != "" {
		words = append(words, "-i "+atHome(h.SSH.IdentityFile, remote.Quote))
	}
	if h.SSH.KnownHostsFile != "" {
		words = append(words, "-o UserKnownHostsFile="+atHome(h.SSH.KnownHostsFile, remote.Quote))
	}
	at := cmp.Or(h.SSH.Address, h.Address)
	if strings.Contains(at, " ") {
		at = "ADDRESS"
	}
	if h.SSH.User != "" {
		at = h.SSH.User + "@" + at
	}
	return strings.Join(append(words, remote.Quote(at)), " ")
}
