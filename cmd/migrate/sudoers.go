package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote/rights"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"
	"hamigrate/phases"
	"hamigrate/phases/migration"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"
)

func sudoersCommand() *cli.Command {
	return &cli.Command{
		Name:      "sudoers",
		ArgsUsage: "[USER@HOST]",
		Usage:     "print the sudoers file that each host needs: what looks use, and what changes need",
		Description: "For a login user who is not root. On a host that is only looked at the file allows to read\n" +
			"every file, and a few programs with the arguments that looks use; nothing there can be\n" +
			"changed with it. A host that a phase changes needs all of root's rights, and the file says\n" +
			"why. --read-only prints what init, preflight, audit, plan, status, verify, certs and backup need.\n" +
			"Needs the spec only, no connection; workers that the spec does not name are not printed.\n" +
			"Where there is no spec yet: migrate sudoers USER@HOST. To install one:\n" +
			"  " + strings.ReplaceAll(rights.Allow("migrate sudoers --host cp1 --read-only", "ssh root@192.0.2.11"), " | ", " |\n    ") + "\n\n" + exitStatus,
		Flags: append(commonFlags(), phaseFlag(), outputFlag("text", "json"),
			&cli.StringFlag{Name: "host", Usage: "only the file of host `NAME`"},
			&cli.BoolFlag{Name: "read-only", Usage: "only what looks need, on every host"}),
		Action: sudoersAction,
	}
}

// sudoersFile is one host's.
type sudoersFile struct {
	Host    string `json:"host"`
	User    string `json:"user"`
	Path    string `json:"path"`
	Changes bool   `json:"changes"` // all of root's rights
	File    string `json:"file"`
}

func sudoersAction(c *cli.Context) error {
	list, err := sudoersFiles(c)
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		return show.WriteJSON(c.App.Writer, list)
	}
	for i, f := range list {
		if i > 0 {
			f.File = "\n" + f.File
		}
		if _, err := io.WriteString(c.App.Writer, f.File); err != nil {
			return err
		}
	}
	return nil
}

func sudoersFiles(c *cli.Context) ([]sudoersFile, error) {
	s, hosts, err := sudoersHosts(c)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var out []sudoersFile
	var names, roots []string
	for _, h := range hosts {
		names = append(names, h.host.Name)
		if only := c.String("host"); only != "" && only != h.host.Name {
			continue
		}
		user, sudo, err := s.Pool.Login(h.host)
		if err != nil {
			return nil, err
		}
		if user == "root" || !sudo {
			roots = append(roots, h.host.Name)
			continue
		}
		file, err := rights.Sudoers(rights.Host{Name: h.host.Name, User: user, Role: h.role, Changes: h.changes})
		if err != nil {
			return nil, err
		}
		out = append(out, sudoersFile{h.host.Name, user, rights.Path, h.changes != "", file})
	}
	switch {
	case len(out) == 0 && len(roots) > 0:
		return nil, fmt.Errorf("the login user of %s is root, or uses no sudo: no sudoers file is needed there. Another user is named in ssh.user of the spec", strings.Join(roots, ", "))
	case len(out) == 0:
		return nil, fmt.Errorf("--host %s: the spec has no host of that name; it has %s", c.String("host"), strings.Join(names, ", "))
	}
	return out, nil
}

// sudoersHost is a host of the spec, once, with all that it is.
type sudoersHost struct {
	host    cluster.Host
	role    rights.Role
	changes string
}

func sudoersHosts(c *cli.Context) (*run.Session, []sudoersHost, error) {
	if word := c.Args().First(); word != "" {
		if c.Args().Len() > 1 || common(c, flagFile) != "" || c.IsSet("phase") || c.IsSet("host") {
			return nil, nil, fmt.Errorf("`migrate sudoers %s` is for one host without a spec: leave the rest out; flags stand before the host", word)
		}
		h, err := cluster.ParseHost(word)
		if err != nil {
			return nil, nil, err
		}
		log := hclog.NewNullLogger()
		return run.WithoutSpec(run.SessionOptions{Tool: version, Log: log, SSH: sshOptions(c, log)}), []sudoersHost{{host: h, role: rights.First}}, nil
	}
	s, err := readSession(c)
	if err != nil {
		return nil, nil, err
	}
	var changed []migrate.Selector
	if !c.Bool("read-only") {
		list := migration.Declared() // whatever is chosen when it is run
		if n := c.Int("phase"); n != 0 {
			list = list[n-1 : n]
		}
		changed = phases.Changed(list)
	}
	return s, rolesOf(s.Spec, changed), nil
}

// rolesOf lists the hosts of a spec with their roles and, of those of a kind that
// is changed, why that needs root.
func rolesOf(spec cluster.Spec, changed []migrate.Selector) []sudoersHost {
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
	var out []sudoersHost
	for _, k := range kinds {
		isChanged := slices.ContainsFunc(k.targets, func(s migrate.Selector) bool { return slices.Contains(changed, s) })
		for _, h := range k.hosts {
			i := slices.IndexFunc(out, func(o sudoersHost) bool { return o.host.Name == h.Name })
			if i < 0 {
				i, out = len(out), append(out, sudoersHost{host: h})
			}
			out[i].role |= k.role
			if isChanged && out[i].changes == "" {
				out[i].changes = k.why
			}
		}
	}
	return out
}
