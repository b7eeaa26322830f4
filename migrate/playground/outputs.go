package playground

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/renameio/v2"
)

// specData is what the spec file is rendered with.
type specData struct {
	Name, Endpoint, User, Identity, KnownHosts, Ignore string
	LoadBalancers, Etcd, Joining, Workers              []Host
	First                                              Host
}

// spec renders the spec file for this playground.
func (p *Playground) spec(ignore string) (string, error) {
	balancers := withRole(p.hosts, RoleLoadBalancer)
	text, err := render("migrate.yaml", specData{
		Name:          p.state.Name,
		Endpoint:      p.endpoint() + ":6443",
		User:          p.User(),
		Identity:      p.Identity(),
		KnownHosts:    p.KnownHosts(),
		Ignore:        ignore,
		LoadBalancers: balancers,
		Etcd:          withRole(p.hosts, RoleEtcd),
		First:         withRole(p.hosts, RoleFirst)[0],
		Joining:       withRole(p.hosts, RoleJoining),
		Workers:       withRole(p.hosts, RoleWorker),
	})
	return strings.TrimRight(text, "\n") + "\n", err
}

// writeIdentity makes the operator's key pair and returns the public key.
func (p *Playground) writeIdentity(ctx context.Context) (string, error) {
	if _, err := run(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "operator of "+p.state.Name, "-f", p.Identity()); err != nil {
		return "", err
	}
	public, err := os.ReadFile(p.Identity() + ".pub")
	return string(public), err
}

// writeKnownHosts collects the hosts' public keys, under address and name.
func (p *Playground) writeKnownHosts() error {
	var lines strings.Builder
	for _, h := range p.hosts {
		keys, err := filepath.Glob(filepath.Join(p.hostFile(h, upperDir), "etc/ssh/ssh_host_*_key.pub"))
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			return fmt.Errorf("ssh-keygen made no host keys for %s", h.Name)
		}
		for _, key := range keys {
			data, err := os.ReadFile(key)
			if err != nil {
				return err
			}
			fields := strings.Fields(string(data))
			if len(fields) < 2 {
				return fmt.Errorf("reading %s: not a public key", key)
			}
			fmt.Fprintf(&lines, "%s,%s %s %s\n", h.Address, h.Name, fields[0], fields[1])
		}
	}
	return renameio.WriteFile(p.KnownHosts(), []byte(lines.String()), 0o644)
}

var serverLine = regexp.MustCompile(`(?m)^(\s*server: ).*$`)

// writeKubeconfig copies the first control-plane node's admin.conf.
func (p *Playground) writeKubeconfig() error {
	first := withRole(p.hosts, RoleFirst)[0]
	data, err := os.ReadFile(p.rootFile(first, "/etc/kubernetes/admin.conf"))
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("kubeadm init left no admin.conf")
	}
	if err != nil {
		return err
	}
	data = serverLine.ReplaceAll(data, []byte("${1}https://"+first.Address.String()+":6443"))
	return renameio.WriteFile(p.Kubeconfig(), data, 0o600)
}
