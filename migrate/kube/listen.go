package kube

import (
	"net"
	"strings"
)

// EveryAddress says whether a program that is told to listen at a host listens
// at every address of its machine: "" and the unspecified addresses, in any form
// of writing (k8s.io/apiserver: pkg/server/options/serving.go; Go's net.Listen).
func EveryAddress(host string) bool {
	return host == "" || net.ParseIP(strings.Trim(host, "[]")).IsUnspecified()
}

// ListensEverywhere says so of a control plane's component, by its flags.
func (f Flags) ListensEverywhere() bool {
	bind, _ := f.Get("bind-address")
	return EveryAddress(bind)
}
