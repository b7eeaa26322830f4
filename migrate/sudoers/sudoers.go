// Package sudoers makes the sudoers file that each host of a spec needs, for a login
// user who is not root: what looks use (migrate/remote/rights), and all of root's
// rights where a phase changes something.
package sudoers

import (
	"fmt"
	"slices"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote/rights"
)

// File is the sudoers file of one host. Its JSON is a contract with scripts.
type File struct {
	Host    string `json:"host"`
	User    string `json:"user"`
	Path    string `json:"path"`
	Changes bool   `json:"changes"` // all of root's rights
	File    string `json:"file"`
}

// Host is a host of the spec, once, with all that it is.
type Host struct {
	Host    cluster.Host
	Role    rights.Role
	Changes string // why a phase needs all of root's rights there; "": it is only looked at
}

// Files makes the file of each host whose login user is not root. login says as whom a
// host is logged in to, and whether that user uses sudo; only is the one host whose
// file is wanted, "" for all. It is an error where there is none to make.
func Files(hosts []Host, login func(cluster.Host) (user string, sudo bool, err error), only string) ([]File, error) {
	var out []File
	var names, roots []string
	for _, h := range hosts {
		names = append(names, h.Host.Name)
		if only != "" && only != h.Host.Name {
			continue
		}
		user, sudo, err := login(h.Host)
		if err != nil {
			return nil, err
		}
		if user == "root" || !sudo {
			roots = append(roots, h.Host.Name)
			continue
		}
		file, err := rights.Sudoers(rights.Host{Name: h.Host.Name, User: user, Role: h.Role, Changes: h.Changes})
		if err != nil {
			return nil, err
		}
		out = append(out, File{h.Host.Name, user, rights.Path, h.Changes != "", file})
	}
	switch {
	case len(out) == 0 && len(roots) > 0:
		return nil, fmt.Errorf("the login user of %s is root, or uses no sudo: no sudoers file is needed there. Another user is named in ssh.user of the spec", strings.Join(roots, ", "))
	case len(out) == 0:
		return nil, fmt.Errorf("--host %s: the spec has no host of that name; it has %s", only, strings.Join(names, ", "))
	}
	return out, nil
}

// HostsOf lists the hosts of a spec with their roles and, of those of a kind that
// is changed, why that needs root. Each host is there once.
func HostsOf(spec cluster.Spec, changed []migrate.Selector) []Host {
	kinds := []struct {
		hosts   []cluster.Host
		role    rights.Role
		targets []migrate.Selector
		why     string
	}{
		{[]cluster.Host{spec.ControlPlane.First}, rights.First, []migrate.Selector{migrate.FirstControlPlane, migrate.ControlPlanes},
			"steps write static pod manifests and certificates in /etc/kubernetes, which the kubelet runs as root."},
		{spec.ControlPlane.Joining, rights.Joining, []migrate.Selector{migrate.JoiningControlPlanes, migrate.ControlPlanes},
			"kubeadm join writes static pod manifests, which the kubelet runs as root."},
		{spec.Etcd.Hosts, rights.EtcdHost, []migrate.Selector{migrate.EtcdHosts},
			"steps install a program and write its unit to /etc/systemd/system, which systemd runs."},
		{spec.LoadBalancer.Hosts, rights.LoadBalancer, []migrate.Selector{migrate.LoadBalancers},
			"steps install packages and write /etc/nginx, from which nginx loads modules as root, or /etc/haproxy and a unit."},
		{spec.Workers, rights.Worker, []migrate.Selector{migrate.Workers},
			"steps write /etc/kubernetes/kubelet.conf, which may name a program that the kubelet runs as root, and restart the kubelet."},
	}
	var out []Host
	for _, k := range kinds {
		isChanged := slices.ContainsFunc(k.targets, func(s migrate.Selector) bool { return slices.Contains(changed, s) })
		for _, h := range k.hosts {
			i := slices.IndexFunc(out, func(o Host) bool { return o.Host.Name == h.Name })
			if i < 0 {
				i, out = len(out), append(out, Host{Host: h})
			}
			out[i].Role |= k.role
			if isChanged && out[i].Changes == "" {
				out[i].Changes = k.why
			}
		}
	}
	return out
}
