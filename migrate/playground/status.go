package playground

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Status is what a playground is like at the moment.
type Status struct {
	Name       string `json:"name"`
	Dir        string `json:"dir"`
	Kubernetes string `json:"kubernetes"`
	Profile    string `json:"profile"`
	EtcdListen string `json:"etcdListen"`
	SudoUser   string `json:"sudoUser,omitempty"`
	// Objects is how many the cluster is to be filled with, and Filled says
	// that all of them have been written.
	Objects int  `json:"objects,omitempty"`
	Filled  bool `json:"filled,omitempty"`
	// Complete is false while `up` makes the cluster, and for ever after one
	// that was interrupted then.
	Complete bool         `json:"complete"`
	Created  time.Time    `json:"created"`
	Hosts    []HostStatus `json:"hosts"`
}

// HostStatus is what one host is like.
type HostStatus struct {
	Host
	// On says that the host has processes.
	On bool `json:"on"`
	// SSH says that its sshd answers.
	SSH bool `json:"ssh"`
}

// Complete says whether the playground has a cluster that has been ready: if
// so, another Up goes on with it, and if not, makes it again.
func (p *Playground) Complete() bool { return p.state.Ready }

// Status looks at every host. It needs no rights and changes nothing.
func (p *Playground) Status(ctx context.Context) (Status, error) {
	s := Status{
		Name: p.state.Name, Dir: p.dir, Kubernetes: p.state.Kubernetes, Profile: cmp.Or(p.state.Profile, ProfileClean), EtcdListen: p.state.EtcdListen,
		SudoUser: p.state.SudoUser, Objects: p.state.Objects, Filled: p.state.Filled,
		Complete: p.Complete(), Created: p.state.Created,
		Hosts: make([]HostStatus, len(p.hosts)),
	}
	numbers := make([]int, len(p.hosts))
	for i := range numbers {
		numbers[i] = i
	}
	err := each(ctx, numbers, len(numbers), func(ctx context.Context, i int) error {
		h := p.hosts[i]
		on := p.alive(h)
		s.Hosts[i] = HostStatus{Host: h, On: on, SSH: on && sshAnswers(ctx, h) == nil}
		return nil
	})
	return s, err
}

// List names the playgrounds below root (DefaultDir if empty), sorted.
func List(root string) ([]string, error) {
	setDefault(&root, DefaultDir)
	files, err := filepath.Glob(filepath.Join(root, "*", stateFile))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		names = append(names, filepath.Base(filepath.Dir(f)))
	}
	slices.Sort(names)
	return names, nil
}

// SSH returns the words of an ssh command to a host: the system's client with
// this playground's key and known hosts, and with nothing of the user's own
// configuration. Further words are the command to run there.
func (p *Playground) SSH(name string, command ...string) ([]string, error) {
	h, err := p.host(name)
	if err != nil {
		return nil, err
	}
	if _, err := os.ReadFile(p.Identity()); err != nil {
		return nil, &UserError{
			Problem: "the playground's key cannot be read (" + err.Error() + ")",
			Remedy:  "run the same command with sudo; if there is no key yet, `migrate playground up` has not got that far",
		}
	}
	words := []string{
		"ssh", "-F", "none", "-i", p.Identity(),
		"-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + p.KnownHosts(),
		"-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR",
		p.User() + "@" + h.Address.String(),
	}
	if len(command) > 0 {
		words = append(append(words, "--"), command...)
	}
	return words, nil
}
