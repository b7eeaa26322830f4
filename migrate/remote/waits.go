package remote

import "time"

// Wait is an answer of a host that is waited for.
type Wait struct {
	// Host is its name in the spec, For what it was asked:
	// "reading /etc/kubernetes/manifests".
	Host, For string
	// Lasts is for how long it was waited for by now.
	Lasts time.Duration
}
