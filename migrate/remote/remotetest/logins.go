package remotetest

import (
	"context"
	"slices"
	"sync"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote"
)

// Logins are hosts that answer "yes" to each look, and whose logins may change
// something, but to those of OnlyLook. It is safe for use by several goroutines.
type Logins struct {
	OnlyLook []string

	mu    sync.Mutex
	asked []string
}

// Host is one of them; phases.Access asks for it.
func (l *Logins) Host(_ context.Context, h cluster.Host) (remote.Host, error) {
	return login{logins: l, name: h.Name}, nil
}

// Asked are the hosts that were asked whether their logins may change something,
// by name.
func (l *Logins) Asked() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(slices.Values(l.asked))
}

// LooksOnly is the error of a login that may only look.
func LooksOnly(host string) *remote.LooksOnlyError {
	return &remote.LooksOnlyError{Host: host, User: "ops", Allow: "migrate sudoers --file a.yaml --host " + host + " | ssh root@" + host + " 'x'"}
}

// login is a host of which nothing else is asked.
type login struct {
	remote.Host
	logins *Logins
	name   string
}

func (l login) Look(context.Context, remote.Command) (string, error) { return "yes", nil }

func (l login) MayChange(context.Context) error {
	l.logins.mu.Lock()
	defer l.logins.mu.Unlock()
	l.logins.asked = append(l.logins.asked, l.name)
	if slices.Contains(l.logins.OnlyLook, l.name) {
		return LooksOnly(l.name)
	}
	return nil
}
